import { describe, expect, it } from "vitest";
import {
  draws,
  fillNormal,
  fillNormalRows,
  fillUniform,
  fillUniformRows,
  philox4x32,
  type RowKey,
} from "../../src/engine/random/philox.js";
import { PURPOSE } from "../../src/engine/random/purpose.js";
import * as fc from "../kit/property.js";

/** The same generator from its definition, with BigInt: slow, and nothing in common with the limb arithmetic. */
function philoxByDefinition(counter: readonly number[], key: readonly number[]): number[] {
  const mask = 0xffffffffn;
  let [c0, c1, c2, c3] = counter.map((word) => BigInt(word)) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map((word) => BigInt(word)) as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const product0 = 0xd2511f53n * c0;
    const product1 = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(product1 >> 32n) ^ c1 ^ k0, product1 & mask, (product0 >> 32n) ^ c3 ^ k1, product0 & mask];
    k0 = (k0 + 0x9e3779b9n) & mask;
    k1 = (k1 + 0xbb67ae85n) & mask;
  }
  return [c0, c1, c2, c3].map(Number);
}

function block(counter: readonly [number, number, number, number], key: readonly [number, number]): number[] {
  const out = new Uint32Array(4);
  philox4x32(...counter, ...key, out);
  return [...out];
}

const at = (change: Partial<RowKey> = {}): RowKey => ({ seed: 7n, purpose: PURPOSE.augment, step: 3, inner: 0, position: 5, ...change });

function moments(values: Float32Array): { mean: number; variance: number; skew: number; kurtosis: number } {
  const n = values.length;
  const mean = values.reduce((sum, v) => sum + v, 0) / n;
  const central = (power: number): number => values.reduce((sum, v) => sum + (v - mean) ** power, 0) / n;
  const variance = central(2);
  return { mean, variance, skew: central(3) / variance ** 1.5, kurtosis: central(4) / variance ** 2 };
}

function correlation(a: Float32Array, b: Float32Array): number {
  const ma = moments(a);
  const mb = moments(b);
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += ((a[i] as number) - ma.mean) * ((b[i] as number) - mb.mean);
  return sum / a.length / Math.sqrt(ma.variance * mb.variance);
}

describe("philox4x32-10", () => {
  it("gives the known answers of Random123's kat_vectors", () => {
    expect(block([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    const ones = 0xffffffff;
    expect(block([ones, ones, ones, ones], [ones, ones])).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    expect(block([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toEqual([
      0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
    ]);
  });

  it("agrees with its definition for any counter and key", () => {
    const word = fc.integer({ min: 0, max: 0xffffffff });
    fc.assert(
      fc.property(fc.tuple(word, word, word, word), fc.tuple(word, word), (counter, key) => {
        expect(block(counter, key)).toEqual(philoxByDefinition(counter, key));
      }),
    );
  });
});

describe("streams", () => {
  it("lay key and counter out as documented", () => {
    const out = new Float32Array(6);
    const seed = (0x299f31d0n << 32n) | 0xa4093822n;
    fillUniform(out, { seed, purpose: 3, step: 0xfffffffe, inner: 9, position: 0x85a308d3 });
    const expected = [0, 1].flatMap((b) =>
      philoxByDefinition([b, 0x85a308d3, 0xfffffffe, 3 * 2 ** 24 + 9], [0xa4093822, 0x299f31d0]).map((word) => (word >>> 8) / 2 ** 24),
    );
    expect([...out]).toEqual(expected.slice(0, 6));
  });

  it("draw the same values whatever the row's length and whoever draws", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 40 }), fc.nat(100), (a, b, position) => {
        for (const fill of [fillUniform, fillNormal]) {
          const first = new Float32Array(a);
          const second = new Float32Array(b);
          fill(first, at({ position }));
          fill(second, at({ position }));
          const shared = Math.min(a, b);
          expect(first.subarray(0, shared)).toEqual(second.subarray(0, shared));
        }
      }),
    );
  });

  it("give many rows the values of each row alone", () => {
    const positions = Int32Array.of(4, 0, 4, 1_000_000);
    for (const [rows, row] of [
      [fillUniformRows, fillUniform],
      [fillNormalRows, fillNormal],
    ] as const) {
      const all = new Float32Array(4 * 7);
      rows(all, { seed: 7n, purpose: 5, step: 2, inner: 3, positions });
      for (const [i, position] of [...positions].entries()) {
        const one = new Float32Array(7);
        row(one, at({ purpose: 5, step: 2, inner: 3, position }));
        expect(all.subarray(i * 7, i * 7 + 7)).toEqual(one);
      }
    }
    fillUniformRows(new Float32Array(0), { seed: 7n, purpose: 5, step: 2, positions: [] });
    expect(() => fillUniformRows(new Float32Array(5), { seed: 7n, purpose: 5, step: 2, positions: [0, 1] })).toThrow(/cut into 2 rows/);
  });

  it("refuse what would run over into another stream", () => {
    const out = new Float32Array(1);
    expect(() => fillUniform(out, at({ purpose: 256 }))).toThrow(/purpose 256/);
    expect(() => fillUniform(out, at({ inner: 2 ** 24 }))).toThrow(/inner step/);
    expect(() => fillUniform(out, at({ step: -1 }))).toThrow(/step -1/);
  });
});

describe("distribution", () => {
  const n = 200_000;
  // Five standard errors of each figure at this n: a right generator stays within, with fixed keys for ever.
  const within = 5 / Math.sqrt(n);

  it("has a uniform's moments, range and evenly filled bins", () => {
    const values = new Float32Array(n);
    fillUniform(values, at());
    const { mean, variance, kurtosis } = moments(values);
    expect(Math.abs(mean - 1 / 2)).toBeLessThan(within * Math.sqrt(1 / 12));
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(within * Math.sqrt(1 / 180));
    expect(Math.abs(kurtosis - 9 / 5)).toBeLessThan(0.02);
    expect(values.every((v) => v >= 0 && v < 1)).toBe(true);
    const bins = new Float64Array(256);
    for (const v of values) bins[Math.floor(v * 256)] = (bins[Math.floor(v * 256)] as number) + 1;
    const chiSquare = bins.reduce((sum, count) => sum + (count - n / 256) ** 2 / (n / 256), 0);
    // 255 degrees of freedom: mean 255, deviation 22.6.
    expect(Math.abs(chiSquare - 255)).toBeLessThan(5 * Math.sqrt(2 * 255));
  });

  it("has a normal's moments and tails", () => {
    const values = new Float32Array(n);
    fillNormal(values, at());
    const { mean, variance, skew, kurtosis } = moments(values);
    expect(Math.abs(mean)).toBeLessThan(within);
    expect(Math.abs(variance - 1)).toBeLessThan(within * Math.sqrt(2));
    expect(Math.abs(skew)).toBeLessThan(within * Math.sqrt(6));
    expect(Math.abs(kurtosis - 3)).toBeLessThan(within * Math.sqrt(24));
    const beyondTwo = values.reduce((count, v) => count + (Math.abs(v) > 2 ? 1 : 0), 0) / n;
    expect(Math.abs(beyondTwo - 0.0455)).toBeLessThan(within * Math.sqrt(0.0455));
    expect(values.every(Number.isFinite)).toBe(true);
  });

  it("is uncorrelated across position, step, purpose, inner step, seed and the halves of a pair", () => {
    const other: Partial<RowKey>[] = [
      { position: 6 },
      { step: 4 },
      { purpose: PURPOSE.attackStart },
      { inner: 1 },
      { seed: 8n },
      { seed: 7n + (1n << 32n) },
    ];
    for (const fill of [fillUniform, fillNormal]) {
      const values = new Float32Array(n);
      fill(values, at());
      for (const change of other) {
        const changed = new Float32Array(n);
        fill(changed, at(change));
        expect(
          Math.abs(correlation(values, changed)),
          JSON.stringify(change, (_, v: unknown) => String(v)),
        ).toBeLessThan(within);
      }
      const even = values.filter((_, i) => i % 2 === 0);
      const odd = values.filter((_, i) => i % 2 === 1);
      expect(Math.abs(correlation(even, odd))).toBeLessThan(5 / Math.sqrt(n / 2));
    }
  });

  it("has a uniform's moments across positions and across steps too, at one place of the row", () => {
    for (const axis of ["position", "step"] as const) {
      const values = new Float32Array(50_000);
      const one = new Float32Array(1);
      for (let i = 0; i < values.length; i++) {
        fillUniform(one, at({ [axis]: i }));
        values[i] = one[0] as number;
      }
      const { mean, variance } = moments(values);
      expect(Math.abs(mean - 1 / 2)).toBeLessThan((5 / Math.sqrt(50_000)) * Math.sqrt(1 / 12));
      expect(Math.abs(variance - 1 / 12)).toBeLessThan((5 / Math.sqrt(50_000)) * Math.sqrt(1 / 180));
    }
  });
});

describe("draws", () => {
  it("reads the row of its position in order", () => {
    const row = new Float32Array(11);
    fillUniform(row, at());
    const sequence = draws(at());
    expect(Array.from(row, () => sequence.uniform())).toEqual([...row]);
  });

  it("keeps below(n) in range and, where n does not divide 2^32, even", () => {
    // For n = 3 * 2^30, word % n without rejection would make the first third twice as likely as the rest.
    const n = 3 * 2 ** 30;
    const sequence = draws(at());
    let low = 0;
    for (let i = 0; i < 30_000; i++) {
      const value = sequence.below(n);
      expect(value).toBeLessThan(n);
      if (value < 2 ** 30) low++;
    }
    expect(Math.abs(low / 30_000 - 1 / 3)).toBeLessThan((5 * Math.sqrt(2 / 9)) / Math.sqrt(30_000));
    expect(sequence.below(1)).toBe(0);
    expect(() => sequence.below(0)).toThrow(/no value/);
  });
});
