/** Quantiles of energies over the global batch: the same however the batch was cut, from the step's own energies, now and then. */

import { beforeAll, describe, expect, it } from "vitest";
import { createPlan, numSteps } from "../../src/data/plan.js";
import { startCpu } from "../../src/engine/cpu.js";
import { createView } from "../../src/objective/view.js";
import { energySpread, looksAtSpread, SPREAD_PERCENTS } from "../../src/train/energy-spread.js";
import type { Ballot, Link } from "../../src/train/link.js";
import { train } from "../../src/train/loop.js";
import { createSoloLink, type SoloOptions } from "../../src/train/solo-link.js";
import { cutLink, lockstep } from "../kit/lockstep.js";
import * as fc from "../kit/property.js";
import { NUM_CLASSES, SHAPE, smallConfig, smallSamples } from "../kit/small-run.js";

beforeAll(() => startCpu());

/** A view whose energies are these: one class, E = -f. */
const viewOf = (energies: readonly number[], total: number) =>
  createView(
    energies.map((energy) => -energy),
    { numClasses: 1, total },
  );
const range = (from: number, to: number): Int32Array => Int32Array.from({ length: to - from }, (_, i) => from + i);

/** Quantiles by another way: the place of a share among sorted values, as NumPy's default defines it. */
function percentileOf(values: readonly number[], percent: number): number {
  const ascending = Float32Array.from(values).sort();
  const at = (percent / 100) * (values.length - 1);
  const rest = at - Math.floor(at);
  return (1 - rest) * (ascending[Math.floor(at)] ?? 0) + rest * (ascending[Math.ceil(at)] ?? 0);
}

describe("the spread of energies", () => {
  it("is that of the whole batch, to the last bit, however it was cut", () => {
    const energies = fc.array(fc.double({ min: -500, max: 50, noNaN: true }), { minLength: 3, maxLength: 40 });
    fc.assert(
      fc.property(energies, energies, fc.array(fc.nat(40), { maxLength: 3 }), (clean, generated, cuts) => {
        const edges = (n: number) => [0, ...cuts.map((cut) => Math.min(n, cut)).sort((a, b) => a - b), n];
        const [cleanEdges, chainEdges] = [edges(clean.length), edges(generated.length)];
        const workers = cleanEdges.slice(1).map((to, rank) => (sumOverWorkers: (values: Float32Array) => void) => {
          const [from, chainsFrom, chainsTo] = [cleanEdges[rank] as number, chainEdges[rank] as number, chainEdges[rank + 1] as number];
          const own = viewOf(clean.slice(from, to), clean.length);
          return energySpread(
            {
              clean: own,
              adversarial: viewOf(
                clean.slice(from, to).map((energy) => energy + 1),
                clean.length,
              ),
              generated: viewOf(generated.slice(chainsFrom, chainsTo), generated.length),
            },
            {
              clean: { positions: range(from, to) } as never,
              chains: { positions: range(chainsFrom, chainsTo) } as never,
              sumOverWorkers,
            },
          );
        });
        const spreads = lockstep(workers);
        for (const spread of spreads) expect(spread).toEqual(spreads[0]);
        for (const percent of SPREAD_PERCENTS) {
          expect(spreads[0]?.[`energy-spread/clean/p${percent}`]).toBeCloseTo(percentileOf(clean, percent), 9);
          expect(spreads[0]?.[`energy-spread/generated/p${percent}`]).toBeCloseTo(percentileOf(generated, percent), 9);
        }
        expect(Object.keys(spreads[0] ?? {})).toHaveLength(3 * SPREAD_PERCENTS.length);
      }),
      { numRuns: 50 },
    );
  });

  it("travels in sums that no network rounds", () => {
    const lengths: number[] = [];
    const n = 9000;
    const values = Array.from({ length: n }, (_, i) => i / 100);
    const spread = energySpread(
      { clean: viewOf(values, n) },
      { clean: { positions: range(0, n) } as never, chains: null, sumOverWorkers: (sum) => void lengths.push(sum.length) },
    );
    expect(lengths).toEqual([4096, 4096, 808]);
    expect(spread["energy-spread/clean/p50"]).toBeCloseTo(44.995, 3);
    expect(Object.keys(spread)).toHaveLength(SPREAD_PERCENTS.length);
  });

  it("is looked at about a hundred times in a training of any length, in steps with chains", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20_000 }), fc.integer({ min: 1, max: 10 }), (totalSteps, every) => {
        const looks = Array.from({ length: totalSteps }, (_, step) => step).filter((step) => looksAtSpread(step, { totalSteps, every }));
        expect(looks[0]).toBe(0);
        expect(looks.every((step) => step % every === 0)).toBe(true);
        const steps = Math.ceil(totalSteps / every);
        expect(looks.length).toBeLessThanOrEqual(Math.max(200, 1));
        expect(looks.length).toBeGreaterThanOrEqual(Math.min(100, steps));
      }),
    );
  });
});

const NUM_SAMPLES = 30;
const samples = smallSamples(NUM_SAMPLES);
const size = SHAPE.height * SHAPE.width * SHAPE.channels;
const config = smallConfig({ epochs: 2 });

function ballotsOver(makeLink: (options: SoloOptions) => Link): Ballot[] {
  const sizes = { numSamples: NUM_SAMPLES, batchSize: config.data.batchSize };
  const ballots: Ballot[] = [];
  const link = makeLink({
    plan: createPlan({ ...sizes, shuffleBlock: config.data.shuffleBlock, seed: 1n }),
    numSteps: numSteps(sizes, config.epochs),
    numChains: config.sampler.chains,
    read: (ids) => ({
      images: Uint8Array.from(Array.from(ids).flatMap((id) => Array.from(samples.images.subarray(id * size, (id + 1) * size)))),
      labels: Int32Array.from(ids, (id) => samples.labels[id] as number),
    }),
    onCommit: (_step, ballot) => ballots.push(ballot),
  });
  train({ config, data: { shape: SHAPE, numClasses: NUM_CLASSES, numSamples: NUM_SAMPLES }, gaussians: null, link });
  return ballots;
}

describe("a training", () => {
  it("tells the spread around the mean that it tells, the same with one worker and with three", () => {
    const whole = ballotsOver(createSoloLink);
    expect(whole).toHaveLength(6);
    for (const [step, { metrics }] of whole.entries()) {
      const told = Object.keys(metrics).filter((name) => name.startsWith("energy-spread/"));
      expect(told).toHaveLength(step % 2 === 0 ? 15 : 0);
      if (step % 2 > 0) continue;
      for (const view of ["clean", "adversarial", "generated"]) {
        const at = SPREAD_PERCENTS.map((percent) => metrics[`energy-spread/${view}/p${percent}`] as number);
        expect(at).toEqual(at.toSorted((a, b) => a - b));
        const mean = metrics[`energy/${view}`] as number;
        expect(mean > (at[0] as number) && mean < (at.at(-1) as number)).toBe(true);
      }
    }
    const runs = lockstep(
      [0, 1, 2].map(
        (rank) => (sum: (values: Float32Array) => void) =>
          ballotsOver((options) => cutLink(options, { from: rank / 3, to: (rank + 1) / 3 }, sum)),
      ),
    );
    for (const run of runs) {
      expect(run.map(({ metrics }) => metrics)).toEqual(runs[0]?.map(({ metrics }) => metrics));
      for (const [step, { metrics }] of run.entries()) {
        for (const [name, value] of Object.entries(whole[step]?.metrics ?? {})) expect(metrics[name], name).toBeCloseTo(value, 3);
      }
    }
  });
});
