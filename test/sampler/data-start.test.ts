/** Chains that begin at images of the batch: the same images for every cut of the batch over workers. */
import { describe, expect, it } from "vitest";
import { DataStarts } from "../../src/sampler/data-start.js";

const SIZE = 3;
const TOTAL = 7;
const images = Float32Array.from({ length: TOTAL * SIZE }, (_, i) => i / 100);
const CHAINS = 5;

/** What each worker's chains begin at, given the slices of the batch; sums as the all-reduce makes them. */
function gathered(cuts: readonly (readonly [number, number])[], step: number): Float32Array[] {
  const contributions: Float32Array[] = [];
  const slice = ([from, to]: readonly [number, number]) => ({ images: images.slice(from * SIZE, to * SIZE), from, total: TOTAL });
  const starts = (sumOverWorkers: (values: Float32Array) => void) =>
    new DataStarts({ seed: 4n, numChains: CHAINS, sampleSize: SIZE, sumOverWorkers });
  for (const cut of cuts) starts((values) => void contributions.push(values.slice())).gather(step, slice(cut));
  const sum = (contributions[0] as Float32Array).map((_, i) => contributions.reduce((total, values) => total + (values[i] as number), 0));
  return cuts.map((cut) => {
    const worker = starts((values) => values.set(sum));
    worker.gather(step, slice(cut));
    const all = new Float32Array(CHAINS * SIZE);
    for (let position = 0; position < CHAINS; position++) {
      worker.start(all.subarray(position * SIZE, (position + 1) * SIZE), { seed: 4n, purpose: 6, step, position });
    }
    return all;
  });
}

describe("chains that start at data", () => {
  const [whole] = gathered([[0, 7]], 3) as [Float32Array];

  it("are images of the batch, drawn by position and step", () => {
    const rows = Array.from({ length: CHAINS }, (_, c) => Array.from(whole.subarray(c * SIZE, (c + 1) * SIZE)));
    for (const row of rows) expect(Number.isInteger(Math.round((row[0] as number) * 100) / SIZE)).toBe(true);
    expect(new Set(rows.map(String)).size).toBeGreaterThan(1);
    expect(gathered([[0, 7]], 4)[0]).not.toEqual(whole);
  });

  it.each([
    [
      [
        [0, 3],
        [3, 7],
      ],
    ],
    [
      [
        [0, 1],
        [1, 1],
        [1, 7],
      ],
    ],
  ] as const)("are the same bits for the cut %j", (cuts) => {
    for (const seen of gathered(cuts, 3)) expect(seen).toEqual(whole);
  });

  it("of another step than the one gathered are a bug", () => {
    const starts = new DataStarts({ seed: 4n, numChains: 1, sampleSize: SIZE, sumOverWorkers: () => undefined });
    expect(() => starts.start(new Float32Array(SIZE), { seed: 4n, purpose: 6, step: 0, position: 0 })).toThrow(/step 0/);
  });
});
