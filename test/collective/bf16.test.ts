/** bfloat16 on the wire: rounding against the definition, sums with the same bits everywhere, and nothing lost over many steps. */

import { describe, expect, it } from "vitest";
import { addBf16, packBf16, packedLength, unpackBf16 } from "../../src/collective/bf16.js";
import { allReduceBf16, Residuals } from "../../src/collective/bf16-ring.js";
import * as fc from "../kit/property.js";
import { at, memoryKind, type Ring, zeromqKind } from "./rings.js";

function roundTrip(values: Float32Array): { rounded: Float32Array; residual: Float32Array } {
  const packed = new Float32Array(packedLength(values.length));
  const residual = new Float32Array(values.length);
  const rounded = new Float32Array(values.length);
  packBf16(values, packed, residual);
  unpackBf16(packed, rounded);
  return { rounded, residual };
}

describe("bfloat16", () => {
  it("is the nearest number of 8 significant bits, and the residual is the rest exactly", () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ noNaN: true, noDefaultInfinity: true, min: Math.fround(-1e30), max: Math.fround(1e30) }), { maxLength: 40 }),
        (numbers) => {
          const values = Float32Array.from(numbers).map((value) => (Math.abs(value) < 1e-30 ? 0 : value));
          const { rounded, residual } = roundTrip(values);
          values.forEach((value, i) => {
            const near = rounded[i] as number;
            const unit = value === 0 ? 0 : 2 ** (Math.floor(Math.log2(Math.abs(value))) - 7);
            expect(unit === 0 ? near : near % unit).toBeCloseTo(0, 30);
            expect(Math.abs(value - near)).toBeLessThanOrEqual(unit / 2);
            expect(near + (residual[i] as number)).toBe(value);
          });
        },
      ),
    );
  });

  it("rounds ties to even, keeps infinities and NaN, and owes nothing for those", () => {
    const ties = [1 + 2 ** -8, 1 + 3 * 2 ** -8, -1 - 2 ** -8];
    expect([...roundTrip(Float32Array.from(ties)).rounded]).toEqual([1, 1 + 2 ** -6, -1]);
    const { rounded, residual } = roundTrip(Float32Array.from([Infinity, -Infinity, Number.NaN, 3.4e38]));
    expect([...rounded]).toEqual([Infinity, -Infinity, Number.NaN, Infinity]);
    expect([...residual]).toEqual([0, 0, 0, 0]);
  });

  it("adds like float32 of what it stands for", () => {
    const values = Float32Array.from({ length: 33 }, (_, i) => Math.sin(i));
    const packed = new Float32Array(packedLength(33));
    packBf16(values, packed, new Float32Array(33));
    const target = new Float32Array(33).fill(0.3);
    addBf16(target, packed);
    const { rounded } = roundTrip(values);
    expect([...target]).toEqual([...rounded.map((value) => value + Math.fround(0.3))]);
  });
});

async function sumAll({ ranks }: Ring, vectors: Float32Array[], residuals: Residuals[], step: number): Promise<void> {
  await Promise.all(
    ranks.map((transport, r) => allReduceBf16(transport, at(vectors, r), { step, bucket: 0, residuals: at(residuals, r) })),
  );
}

describe.each([memoryKind, zeromqKind])("a sum of bfloat16 over $name", ({ open }) => {
  it("has the same bits on every rank, within one rounding a hop of the sum, and half the bytes", async () => {
    for (const worldSize of [2, 3, 5]) {
      await using ring = await open({ worldSize });
      const length = 200_001;
      const inputs = ring.ranks.map((_, r) => Float32Array.from({ length }, (_, i) => Math.sin(i * (r + 1)) + 2));
      const vectors = inputs.map((values) => values.slice());
      await sumAll(
        ring,
        vectors,
        ring.ranks.map(() => new Residuals()),
        1,
      );
      const first = at(vectors, 0);
      for (const vector of vectors) expect(Buffer.compare(Buffer.from(vector.buffer), Buffer.from(first.buffer))).toBe(0);
      let worst = 0;
      for (let i = 0; i < length; i++) {
        const exact = inputs.reduce((sum, values) => sum + (values[i] as number), 0);
        worst = Math.max(worst, Math.abs((first[i] as number) - exact) / exact);
      }
      expect(worst).toBeLessThanOrEqual(worldSize * 2 ** -8);
      expect(at(ring.ranks, 0).counts().bytesSent).toBeLessThan(1.01 * 2 * length * 2 * ((worldSize - 1) / worldSize) + 1000);
    }
  });
});

describe("error feedback", () => {
  it("gives back what rounding took: over many steps the mean is that of float32", async () => {
    await using ring = await memoryKind.open({ worldSize: 3 });
    const length = 5000;
    const residuals = ring.ranks.map(() => new Residuals());
    const inputs = ring.ranks.map((_, r) => Float32Array.from({ length }, (_, i) => Math.cos(i + r)));
    const total = new Float64Array(length);
    const steps = 64;
    let worstOfOne = 0;
    const exact = (i: number) => inputs.reduce((sum, values) => sum + (values[i] as number), 0);
    const vectors = inputs.map((values) => values.slice());
    for (let step = 0; step < steps; step++) {
      vectors.forEach((vector, r) => {
        vector.set(at(inputs, r));
      });
      await sumAll(ring, vectors, residuals, step);
      for (let i = 0; i < length; i++) {
        total[i] = (total[i] as number) + (vectors[0]?.[i] as number);
        worstOfOne = Math.max(worstOfOne, Math.abs((vectors[0]?.[i] as number) - exact(i)));
      }
    }
    let worstOfMean = 0;
    for (let i = 0; i < length; i++) worstOfMean = Math.max(worstOfMean, Math.abs((total[i] as number) / steps - exact(i)));
    expect(worstOfOne).toBeGreaterThan(1e-3);
    expect(worstOfMean).toBeLessThan(worstOfOne / 16); // the last residuals, spread over 64 steps
  });

  it("lets gradient descent reach what plain rounding can't", async () => {
    // f(x) = sum over ranks of (x - c_r)^2 / 2. Each rank's gradient stays large at the optimum, only their sum vanishes.
    await using ring = await memoryKind.open({ worldSize: 2 });
    const centres = [100.7, -99.3].map(Math.fround);
    const descend = async (feedback: boolean, from: number): Promise<number> => {
      let residuals = ring.ranks.map(() => new Residuals());
      let x = 0;
      const gradients = centres.map(() => new Float32Array(1));
      for (let step = 0; step < 300; step++) {
        if (!feedback) residuals = ring.ranks.map(() => new Residuals());
        for (const [r, gradient] of gradients.entries()) gradient.fill(x - at(centres, r));
        await sumAll(ring, gradients, residuals, from + step);
        x -= 0.02 * (gradients[0]?.[0] as number);
      }
      return x;
    };
    const optimum = (at(centres, 0) + at(centres, 1)) / 2;
    const [plain, fed] = [await descend(false, 0), await descend(true, 1000)];
    expect(Math.abs(fed - optimum)).toBeLessThan(0.02);
    expect(Math.abs(plain - optimum)).toBeGreaterThan(3 * Math.abs(fed - optimum));
  });

  it("owes nothing for a step that comes again", async () => {
    await using ring = await memoryKind.open({ worldSize: 2 });
    const inputs = ring.ranks.map((_, r) => Float32Array.from({ length: 100 }, (_, i) => Math.cos(i + r)));
    const vectors = inputs.map((values) => values.slice());
    const residuals = ring.ranks.map(() => new Residuals());
    const sumAt = async (step: number): Promise<number[]> => {
      for (const [r, vector] of vectors.entries()) vector.set(at(inputs, r));
      await sumAll(ring, vectors, residuals, step);
      return [...at(vectors, 0)];
    };
    const first = await sumAt(7);
    expect(await sumAt(7)).toEqual(first);
    expect(await sumAt(8)).not.toEqual(first);
  });
});
