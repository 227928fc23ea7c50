import { describe, expect, it } from "vitest";
import { type AugmentOptions, augment, toPixels } from "../../src/data/augment.js";
import { slice } from "../../src/data/plan.js";
import { pixelsOf } from "../../src/data/samples.js";
import * as fc from "../kit/property.js";
import { failureOf, toySamples, toyShape } from "./toy.js";

const size = pixelsOf(toyShape);
const { height, width, channels } = toyShape;

/** The image that reads (y, x) of the original, from the definition and with no shortcut; channel by channel. */
function moved(
  image: Uint8Array,
  { down, right, mirrored, border }: { down: number; right: number; mirrored: boolean; border: string },
): number[] {
  const reflect = (i: number, n: number): number => (i < 0 ? -i : i >= n ? 2 * n - 2 - i : i);
  const shifted = (y: number, x: number, c: number): number => {
    const [fromY, fromX] = [y - down, x - right];
    const inside = fromY >= 0 && fromY < height && fromX >= 0 && fromX < width;
    if (!inside && border === "zero") return 0;
    return (image[(reflect(fromY, height) * width + reflect(fromX, width)) * channels + c] as number) / 255;
  };
  const out: number[] = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) for (let c = 0; c < channels; c++) out.push(Math.fround(shifted(y, mirrored ? width - 1 - x : x, c)));
  }
  return out;
}

interface Way {
  readonly down: number;
  readonly right: number;
  readonly mirrored: boolean;
}

/** All images that options allow, each with the ways that lead to it. */
function possibilities(image: Uint8Array, { flip, shift, border }: AugmentOptions): Map<string, Way[]> {
  const all = new Map<string, Way[]>();
  for (const mirrored of flip ? [false, true] : [false]) {
    for (let down = -shift; down <= shift; down++) {
      for (let right = -shift; right <= shift; right++) {
        const key = moved(image, { down, right, mirrored, border }).join();
        all.set(key, [...(all.get(key) ?? []), { down, right, mirrored }]);
      }
    }
  }
  return all;
}

describe("augment", () => {
  it("is v/255 where nothing is asked for", () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, v) => v);
    expect([...toPixels(bytes)]).toEqual([...bytes].map((v) => Math.fround(v / 255)));
    const { images } = toySamples(4, 3);
    const options = { flip: false, shift: 0, border: "reflect" } as const;
    expect(augment(images, toyShape, options, { seed: 1n, step: 0, from: 0 })).toEqual(toPixels(images));
  });

  it.each<AugmentOptions>([
    { flip: true, shift: 0, border: "reflect" },
    { flip: false, shift: 2, border: "reflect" },
    { flip: false, shift: 2, border: "zero" },
    { flip: true, shift: 3, border: "reflect" },
    { flip: true, shift: 5, border: "zero" },
  ])("gives a sample only mirrored and shifted as asked, each way about as often: %o", (options) => {
    const image = toySamples(1, 4).images;
    const all = possibilities(image, options);
    const numSamples = 3000;
    const many = new Uint8Array(numSamples * size);
    for (let n = 0; n < numSamples; n++) many.set(image, n * size);
    const out = augment(many, toyShape, options, { seed: 9n, step: 2, from: 0 });
    const counts = new Map<string, number>();
    for (let n = 0; n < numSamples; n++) {
      const text = out.subarray(n * size, (n + 1) * size).join();
      expect(all.has(text)).toBe(true);
      counts.set(text, (counts.get(text) ?? 0) + 1);
    }
    const numWays = (options.flip ? 2 : 1) * (2 * options.shift + 1) ** 2;
    let chiSquare = 0;
    for (const [key, ways] of all) {
      const expected = (numSamples * ways.length) / numWays;
      chiSquare += ((counts.get(key) ?? 0) - expected) ** 2 / expected;
    }
    expect(chiSquare).toBeLessThan(all.size - 1 + 5 * Math.sqrt(2 * all.size));
  });

  it("is the same for any cut of the batch over workers, and another at another step or seed", () => {
    const options = { flip: true, shift: 2, border: "reflect" } as const;
    const { images } = toySamples(40, 5);
    const whole = augment(images, toyShape, options, { seed: 3n, step: 7, from: 0 });
    fc.assert(
      fc.property(
        fc.array(fc.nat(5), { minLength: 1, maxLength: 9 }).filter((w) => w.some((v) => v > 0)),
        (weights) => {
          const parts = weights.map((_, rank) => {
            const { from, to } = slice(40, rank, weights);
            return [...augment(images.subarray(from * size, to * size), toyShape, options, { seed: 3n, step: 7, from })];
          });
          expect(parts.flat()).toEqual([...whole]);
        },
      ),
      { numRuns: 20 },
    );
    expect(augment(images, toyShape, options, { seed: 3n, step: 8, from: 0 })).not.toEqual(whole);
    expect(augment(images, toyShape, options, { seed: 4n, step: 7, from: 0 })).not.toEqual(whole);
  });

  it("mirrors the same samples whether or not it also shifts", () => {
    const { images } = toySamples(30, 6);
    const key = { seed: 3n, step: 1, from: 0 };
    const mirrored = augment(images, toyShape, { flip: true, shift: 0, border: "zero" }, key);
    const both = augment(images, toyShape, { flip: true, shift: 1, border: "zero" }, key);
    for (let n = 0; n < 30; n++) {
      const wasMirrored = mirrored[n * size] !== toPixels(images)[n * size];
      const found = possibilities(images.subarray(n * size, (n + 1) * size), { flip: true, shift: 1, border: "zero" }).get(
        both.subarray(n * size, (n + 1) * size).join(),
      );
      expect(found?.map((way) => way.mirrored)).toEqual([wasMirrored]);
    }
  });

  it("refuses to reflect further than the image goes", async () => {
    const { images } = toySamples(1, 7);
    const options = { flip: false, shift: 4, border: "reflect" } as const;
    expect(await failureOf(() => augment(images, toyShape, options, { seed: 1n, step: 0, from: 0 }))).toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("4x5 can't be reflected that far"),
      hint: expect.stringContaining("at most 3"),
    });
  });
});

describe("noise", () => {
  const options = { flip: true, shift: 1, border: "zero", noise: 0.05 } as const;
  const { images } = toySamples(12, 1);

  it("has its deviation around the image without it, and stays in [0,1]", () => {
    const grey = new Uint8Array(images.length).fill(128);
    const noisy = augment(grey, toyShape, options, { seed: 3n, step: 7, from: 0 });
    const still = augment(grey, toyShape, { ...options, shift: 0, noise: 0 }, { seed: 3n, step: 7, from: 0 });
    const inside = Array.from(
      augment(grey, toyShape, { ...options, shift: 0 }, { seed: 3n, step: 7, from: 0 }),
      (v, i) => v - (still[i] as number),
    );
    const mean = inside.reduce((a, b) => a + b, 0) / inside.length;
    const deviation = Math.sqrt(inside.reduce((a, b) => a + (b - mean) ** 2, 0) / inside.length);
    expect(Math.abs(mean)).toBeLessThan((4 * 0.05) / Math.sqrt(inside.length));
    expect(Math.abs(deviation - 0.05)).toBeLessThan((4 * 0.05) / Math.sqrt(2 * inside.length));
    const dark = augment(new Uint8Array(images.length), toyShape, options, { seed: 3n, step: 7, from: 0 });
    expect(Math.min(...dark, ...noisy)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...dark, ...noisy)).toBeLessThanOrEqual(1);
  });

  it("is a position's, however the batch is cut, and another in each step", () => {
    const whole = augment(images, toyShape, options, { seed: 3n, step: 7, from: 0 });
    const part = augment(images.subarray(5 * size, 9 * size), toyShape, options, { seed: 3n, step: 7, from: 5 });
    expect(part).toEqual(whole.subarray(5 * size, 9 * size));
    expect(augment(images, toyShape, options, { seed: 3n, step: 8, from: 0 })).not.toEqual(whole);
  });
});
