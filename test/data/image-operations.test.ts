/** Each operation on a small image worked by hand. */
import { describe, expect, it } from "vitest";
import * as operations from "../../src/data/image-operations.js";

const grey = (height: number, width: number) => ({ height, width, channels: 1 });
const of = (...values: number[]): Uint8Array => Uint8Array.from(values);
const SQUARE = of(1, 2, 3, 4, 5, 6, 7, 8, 9);
const RGB = { height: 1, width: 2, channels: 3 };

describe("transforms", () => {
  it("rotate counter-clockwise about the centre: quarter turns are exact", () => {
    expect(operations.rotate(SQUARE, grey(3, 3), 90)).toEqual(of(3, 6, 9, 2, 5, 8, 1, 4, 7));
    expect(operations.rotate(SQUARE, grey(3, 3), -90)).toEqual(of(7, 4, 1, 8, 5, 2, 9, 6, 3));
    expect(operations.rotate(SQUARE, grey(3, 3), 180)).toEqual(of(9, 8, 7, 6, 5, 4, 3, 2, 1));
    expect(operations.rotate(SQUARE, grey(3, 3), 0)).toEqual(SQUARE);
  });

  it("turn corners out of the image by 45 degrees and bring zeros in", () => {
    const out = operations.rotate(SQUARE, grey(3, 3), 45);
    expect([out[0], out[4]]).toEqual([2 /* (.5,.5) comes from (1.5, .086) */, 5]);
    expect(operations.rotate(new Uint8Array(25).fill(9), grey(5, 5), 45)[0]).toBe(0);
  });

  it("shift by whole pixels and shear by rows", () => {
    expect(operations.affine(SQUARE, grey(3, 3), [1, 0, 1, 0, 1, 0])).toEqual(of(2, 3, 0, 5, 6, 0, 8, 9, 0));
    expect(operations.affine(SQUARE, grey(3, 3), [1, 0, 0, 0, 1, -2])).toEqual(of(0, 0, 0, 0, 0, 0, 1, 2, 3));
    // Row y reads .5 + .8 (y + .5) to the right: floor(.5 + .4) = 0, floor(.5 + 1.2) = 1, floor(.5 + 2) = 2.
    expect(operations.affine(SQUARE, grey(3, 3), [1, 0.8, 0, 0, 1, 0])).toEqual(of(1, 2, 3, 5, 6, 0, 9, 0, 0));
  });

  it("move all channels of a pixel together", () => {
    expect(operations.affine(of(1, 2, 3, 4, 5, 6), RGB, [1, 0, 1, 0, 1, 0])).toEqual(of(4, 5, 6, 0, 0, 0));
  });
});

describe("enhancements", () => {
  it("brightness scales, cut off to whole numbers", () => {
    expect(operations.brightness(of(0, 10, 101, 200), grey(2, 2), 1.5)).toEqual(of(0, 15, 151, 255));
    expect(operations.brightness(of(0, 10, 101, 200), grey(2, 2), 0)).toEqual(of(0, 0, 0, 0));
  });

  it("contrast moves about the mean grey", () => {
    // The mean is 77.75, so 78: 78 + .5 (v - 78), cut off.
    expect(operations.contrast(of(0, 10, 101, 200), grey(2, 2), 0.5)).toEqual(of(39, 44, 89, 139));
    expect(operations.contrast(of(0, 10, 101, 200), grey(2, 2), 2)).toEqual(of(0, 0, 124, 255));
  });

  it("color moves about each pixel's luma", () => {
    // (255, 0, 0) has luma (255 * 19595 + 32768) >> 16 = 76; white has 255.
    expect(operations.color(of(255, 0, 0, 255, 255, 255), RGB, 0)).toEqual(of(76, 76, 76, 255, 255, 255));
    expect(operations.color(of(255, 0, 0, 255, 255, 255), RGB, 0.5)).toEqual(of(165, 38, 38, 255, 255, 255));
    expect(operations.color(of(1, 2), grey(1, 2), 0.3)).toEqual(of(1, 2));
  });

  it("sharpness moves about a smoothed image whose border stays", () => {
    const dot = new Uint8Array(25);
    dot[12] = 130;
    const smooth = operations.sharpness(dot, grey(5, 5), 0);
    expect(smooth[12]).toBe(50); // 130 * 5 / 13
    expect([smooth[6], smooth[7], smooth[11]]).toEqual([10, 10, 10]); // 130 / 13
    expect([smooth[0], smooth[2]]).toEqual([0, 0]);
    expect(operations.sharpness(dot, grey(5, 5), 1)).toEqual(dot);
    expect(operations.sharpness(dot, grey(5, 5), 2)[12]).toBe(210);
  });
});

describe("tables of values", () => {
  it("posterize keeps the highest bits", () => {
    expect(operations.posterize(of(255, 127, 64, 3), grey(2, 2), 2)).toEqual(of(192, 64, 64, 0));
    expect(operations.posterize(of(255, 127, 64, 3), grey(2, 2), 8)).toEqual(of(255, 127, 64, 3));
  });

  it("solarize inverts from a threshold on", () => {
    expect(operations.solarize(of(0, 127, 128, 255), grey(2, 2), 128)).toEqual(of(0, 127, 127, 0));
  });

  it("auto-contrast stretches each channel by itself", () => {
    expect(operations.autoContrast(of(50, 7, 0, 101, 7, 255), RGB)).toEqual(of(0, 7, 0, 255, 7, 255));
    expect(operations.autoContrast(of(50, 76, 101, 101), grey(2, 2))).toEqual(of(0, 130, 255, 255));
  });

  it("equalize flattens a histogram, and leaves what it can't", () => {
    // 510 pixels each of 10 and 20, 255 of 30: step (1275 - 255) / 255 = 4, so tables 2/4, (2 + 510)/4, (2 + 1020)/4.
    const image = Uint8Array.from({ length: 1275 }, (_, i) => (i < 510 ? 10 : i < 1020 ? 20 : 30));
    const out = operations.equalize(image, grey(1, 1275));
    expect([out[0], out[510], out[1274]]).toEqual([0, 128, 255]);
    expect(operations.equalize(of(5, 5, 5, 5), grey(2, 2))).toEqual(of(5, 5, 5, 5));
    expect(operations.equalize(SQUARE, grey(3, 3))).toEqual(SQUARE); // fewer pixels than values
  });
});
