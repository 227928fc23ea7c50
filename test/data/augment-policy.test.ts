/** The random operation and the hidden square: drawn by position alone, applied in order, the rest of augmentation unmoved. */
import { describe, expect, it } from "vitest";
import { type AugmentOptions, augment, toPixels } from "../../src/data/augment.js";
import { pixelsOf } from "../../src/data/samples.js";
import { applyOperation, drawOperation, OPERATIONS, STRONGEST } from "../../src/data/trivial-augment.js";
import { toySamples, toyShape } from "./toy.js";

const size = pixelsOf(toyShape);
const plain: AugmentOptions = { flip: true, shift: 1, border: "zero" };
const key = (from = 0, step = 3) => ({ seed: 5n, step, from });

describe("TrivialAugment", () => {
  it("draws each operation, strength and direction about as often", () => {
    const drawn = Array.from({ length: 14 * 400 }, (_, position) => drawOperation({ seed: 1n, step: 2, position }, STRONGEST));
    const count = (values: readonly (string | number)[]) => {
      const counts = new Map<string | number, number>();
      for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
      return counts;
    };
    const names = count(drawn.map(({ operation }) => operation));
    expect([...names.keys()].sort()).toEqual(Object.keys(OPERATIONS).sort());
    for (const n of names.values()) expect(Math.abs(n - 400)).toBeLessThan(100); // standard deviation 19
    const indices = count(drawn.map(({ index }) => index));
    expect([...indices.keys()].sort((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 31 }, (_, i) => i));
    for (const n of indices.values()) expect(Math.abs(n - 180.6)).toBeLessThan(70); // standard deviation 13
    expect(Math.abs((count(drawn.map(({ sign }) => sign)).get(1) ?? 0) - 2800)).toBeLessThan(190); // standard deviation 37
    expect(Math.max(...drawn.slice(0, 500).map((_, position) => drawOperation({ seed: 1n, step: 2, position }, 9).index))).toBe(9);
  });

  it("does nothing at strength 0 but for the operations that have none", () => {
    const { images } = toySamples(1, 3);
    for (const operation of Object.keys(OPERATIONS)) {
      if (["auto-contrast", "equalize", "solarize"].includes(operation)) continue;
      expect(applyOperation(images, toyShape, { operation, index: 0, sign: -1 }), operation).toEqual(images);
    }
  });

  it("gives every operation an image of the same size, changed at full strength", () => {
    const { images } = toySamples(1, 3);
    for (const operation of Object.keys(OPERATIONS)) {
      const out = applyOperation(images, toyShape, { operation, index: 30, sign: 1 });
      expect(out.length).toBe(size);
      if (operation !== "identity" && operation !== "equalize") expect(out, operation).not.toEqual(images);
    }
  });

  it("comes after the shift and the mirror, which it does not move", () => {
    const { images } = toySamples(6, 3);
    const moved = augment(images, toyShape, plain, key());
    const out = augment(images, toyShape, { ...plain, policy: "trivial-augment" }, key());
    for (let n = 0; n < 6; n++) {
      const image = Uint8Array.from(moved.subarray(n * size, (n + 1) * size), (v) => Math.round(v * 255));
      const expected = applyOperation(image, toyShape, drawOperation({ seed: 5n, step: 3, position: n }, STRONGEST));
      expect(out.slice(n * size, (n + 1) * size)).toEqual(toPixels(expected));
    }
  });
});

describe("cutout", () => {
  it("hides one square of each image, at most of its size, and nothing else", () => {
    const { images } = toySamples(40, 3);
    const moved = augment(images, toyShape, plain, key());
    const out = augment(images, toyShape, { ...plain, cutout: 2 }, key());
    const { height, width, channels } = toyShape;
    const places = new Set<string>();
    for (let n = 0; n < 40; n++) {
      const rows: number[] = [];
      const columns: number[] = [];
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const at = n * size + (y * width + x) * channels;
          const same = out.subarray(at, at + channels).every((v, c) => v === moved[at + c]);
          if (same) continue;
          expect([...out.subarray(at, at + channels)]).toEqual(Array(channels).fill(0.5));
          rows.push(y);
          columns.push(x);
        }
      }
      const [tall, wide] = [new Set(rows).size, new Set(columns).size];
      expect(rows.length).toBe(tall * wide);
      expect(Math.max(tall, wide)).toBeLessThanOrEqual(2);
      expect(rows.length).toBeGreaterThan(0);
      places.add(`${rows[0]},${columns[0]}`);
    }
    expect(places.size).toBeGreaterThan(8);
  });
});

describe("all of it", () => {
  const options: AugmentOptions = { flip: true, shift: 1, border: "zero", policy: "trivial-augment", magnitude: 20, cutout: 2 };

  it("is the same bits wherever the batch is cut, and other ones in another step", () => {
    const { images } = toySamples(12, 3);
    const whole = augment(images, toyShape, options, key());
    const parts = [
      [0, 5],
      [5, 5],
      [5, 12],
    ].map(([from, to]) => augment(images.slice((from as number) * size, (to as number) * size), toyShape, options, key(from)));
    expect(Float32Array.from(parts.flatMap((part) => [...part]))).toEqual(whole);
    expect(augment(images, toyShape, options, key(0, 4))).not.toEqual(whole);
    expect(whole.every((v) => v >= 0 && v <= 1)).toBe(true);
  });

  it("leaves the data set's own bytes alone", () => {
    const { images } = toySamples(3, 3);
    const before = images.slice();
    augment(images, toyShape, options, key());
    expect(images).toEqual(before);
  });
});
