/**
 * Expected cost of 1,000 decisions, from counted decisions and a cost for each: with C the mean cost of a decision on inputs as they are,
 * A that under attack, and r the share of attacked inputs,
 *
 *   cost(r) = 1000 ((1 - r) C + r A) + compute
 *
 * a straight line in r. Where the lines of two models cross, neither is cheaper: the break-even attack rate. Intervals are percentiles of
 * bootstrap resamples of the samples (Efron 1979), drawn from streams of Philox: the same files give the same figures.
 *
 * What a sample never showed a bootstrap never draws, so the bound on mistakes that were not seen stands beside it (Clopper-Pearson).
 */
import { fillUniform } from "../../engine/random/philox.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import { invariant } from "../../util/error.js";
import { quantile, sorted } from "../../util/quantile.js";
import { upperBound } from "../certify/binomial.js";
import { type Costs, costMatrix } from "./costs.js";
import { type Decisions, numDecisions } from "./decisions.js";

export interface CostedModel {
  readonly name: string;
  readonly classes: readonly string[];
  readonly clean: Decisions;
  /** One for each attack that was measured; at least one. */
  readonly attacks: readonly { readonly name: string; readonly decisions: Decisions }[];
}

/** Of one decision, in the costs' currency. */
export interface MeanCost {
  readonly mean: number;
  /** 95 %. */
  readonly interval: readonly [number, number];
  readonly numSamples: number;
  /** Shares of the samples. */
  readonly mistakes: number;
  readonly abstained: number;
}

export interface ExpectedCost {
  readonly name: string;
  readonly clean: MeanCost;
  /** Under the attack that costs most. */
  readonly attacked: MeanCost & { readonly attack: string; readonly index: number };
  /** Of computing 1,000 decisions. */
  readonly compute: number;
  /** Of 1,000 decisions at the costs' attack rate. */
  readonly perThousand: number;
  readonly interval: readonly [number, number];
  /** The dearest mistake that did not occur on clean samples of its class; null where all occurred. */
  readonly unseen: { readonly truth: string; readonly decided: string; readonly cost: number; readonly rate: number } | null;
  /** Bootstrap replicates of the two mean costs, for comparisons. */
  readonly replicates: { readonly clean: Float64Array; readonly attacked: Float64Array };
}

export interface CostOptions {
  readonly seed: bigint;
  readonly numReplicates: number;
}

export const COST_OPTIONS: CostOptions = { seed: 0n, numReplicates: 1000 };

/** @param index of the model in a comparison; its samples are drawn from streams of its own */
export function expectedCost(model: CostedModel, costs: Costs, index = 0, options: CostOptions = COST_OPTIONS): ExpectedCost {
  const matrix = costMatrix(costs, model.classes);
  const of = (decisions: Decisions): Float64Array => sampleCosts(decisions, matrix, costs.abstain);
  const clean = of(model.clean);
  const attacks = model.attacks.map(({ name, decisions }, i) => ({ name, index: i, decisions, costs: of(decisions) }));
  const [first] = attacks;
  invariant(first !== undefined, `${model.name} was measured under no attack`);
  const worst = attacks.reduce((dearest, attack) => (mean(attack.costs) > mean(dearest.costs) ? attack : dearest), first);
  const replicates = { clean: resample(clean, 2 * index, options), attacked: resample(worst.costs, 2 * index + 1, options) };
  const compute = costs.compute.runs[model.name] ?? costs.compute.default;
  const at = (c: number, a: number): number => costAt(c, a, compute, costs.attackRate);
  return {
    name: model.name,
    clean: meanCost(clean, replicates.clean, model.clean, costs),
    attacked: { ...meanCost(worst.costs, replicates.attacked, worst.decisions, costs), attack: worst.name, index: worst.index },
    compute,
    perThousand: at(mean(clean), mean(worst.costs)),
    interval: percentiles(replicates.clean.map((c, i) => at(c, replicates.attacked[i] as number))),
    unseen: dearestUnseen(model.clean, matrix, model.classes),
    replicates,
  };
}

/** Of 1,000 decisions, from the mean costs of one. */
export function costAt(clean: number, attacked: number, compute: number, attackRate: number): number {
  return 1000 * ((1 - attackRate) * clean + attackRate * attacked) + compute;
}

export interface BreakEven {
  /** Attack rate at which both cost the same; null where one is cheaper at every rate from 0 to 1. */
  readonly rate: number | null;
  /** Which is cheaper below that rate and which above; the same name twice where the rate is null. */
  readonly below: string;
  readonly above: string;
  /** 95 % of resamples that cross, and the share of all that do: near 1 where it is sure that there is a break-even. */
  readonly interval: readonly [number, number] | null;
  readonly share: number;
}

/** Resamples of the two models are drawn apart, which is cautious where both were measured on the same samples. */
export function breakEven(a: ExpectedCost, b: ExpectedCost): BreakEven {
  const [atNone, atAll] = [difference(a, b, a.clean.mean, b.clean.mean), difference(a, b, a.attacked.mean, b.attacked.mean)];
  const rate = crossing(atNone, atAll);
  const crossings = Array.from(a.replicates.clean, (clean, i) =>
    crossing(
      difference(a, b, clean, b.replicates.clean[i] as number),
      difference(a, b, a.replicates.attacked[i] as number, b.replicates.attacked[i] as number),
    ),
  );
  const found = crossings.filter((one): one is number => one !== null);
  const cheaper = (d: number): string => (d <= 0 ? a.name : b.name);
  const [below, above] = rate === null ? [cheaper(atNone + atAll), cheaper(atNone + atAll)] : [cheaper(atNone), cheaper(atAll)];
  return {
    rate,
    below,
    above,
    interval: rate === null || found.length === 0 ? null : percentiles(Float64Array.from(found)),
    share: found.length / crossings.length,
  };
}

/** Cost of a less cost of b, of 1,000 decisions with these mean costs. */
function difference(a: ExpectedCost, b: ExpectedCost, costA: number, costB: number): number {
  return 1000 * (costA - costB) + a.compute - b.compute;
}

/** Where a line from `atNone` (r = 0) to `atAll` (r = 1) changes its sign; null where it does not. */
function crossing(atNone: number, atAll: number): number | null {
  return atNone * atAll < 0 ? atNone / (atNone - atAll) : null;
}

/** Cost of every sample, in no particular order. */
function sampleCosts(decisions: Decisions, matrix: readonly (readonly number[])[], abstain: Costs["abstain"]): Float64Array {
  const all = new Float64Array(numDecisions(decisions));
  invariant(all.length > 0, "no decision was counted");
  let at = 0;
  for (const [truth, decided, band, n] of decisions.cells) {
    const cost = isAbstained(band, decisions, abstain) ? abstain?.cost : matrix[truth]?.[decided];
    invariant(cost !== undefined, `no cost of class ${truth} taken for ${decided}`);
    all.fill(cost, at, at + n);
    at += n;
  }
  return all;
}

function isAbstained(band: number, { numBands }: Decisions, abstain: Costs["abstain"]): boolean {
  return abstain !== null && band < Math.round(abstain.below * numBands);
}

function meanCost(all: Float64Array, replicates: Float64Array, decisions: Decisions, { abstain }: Costs): MeanCost {
  const share = (counts: (cell: Decisions["cells"][number]) => boolean): number =>
    decisions.cells.reduce((sum, cell) => sum + (counts(cell) ? cell[3] : 0), 0) / all.length;
  const abstained = ([, , band]: Decisions["cells"][number]): boolean => isAbstained(band, decisions, abstain);
  return {
    mean: mean(all),
    interval: percentiles(replicates),
    numSamples: all.length,
    mistakes: share((cell) => !abstained(cell) && cell[0] !== cell[1]),
    abstained: share(abstained),
  };
}

/** Means of samples drawn with replacement. */
function resample(all: Float64Array, step: number, { seed, numReplicates }: CostOptions): Float64Array {
  const uniform = new Float32Array(all.length);
  return Float64Array.from({ length: numReplicates }, (_, position) => {
    fillUniform(uniform, { seed, purpose: PURPOSE.costBootstrap, step, position });
    let sum = 0;
    for (const u of uniform) sum += all[Math.floor(u * all.length)] as number;
    return sum / all.length;
  });
}

function dearestUnseen(clean: Decisions, matrix: readonly (readonly number[])[], classes: readonly string[]): ExpectedCost["unseen"] {
  const seen = new Set(clean.cells.map(([truth, decided]) => truth * classes.length + decided));
  const sizes = classes.map((_, k) => clean.cells.reduce((sum, [truth, , , n]) => sum + (truth === k ? n : 0), 0));
  let dearest: ExpectedCost["unseen"] = null;
  for (const [truth, row] of matrix.entries()) {
    const size = sizes[truth] as number;
    if (size === 0) continue; // a class that was not measured at all has no bound but 1
    for (const [decided, cost] of row.entries()) {
      if (truth === decided || cost === 0 || seen.has(truth * classes.length + decided)) continue;
      if (dearest && dearest.cost >= cost) continue;
      dearest = { truth: classes[truth] as string, decided: classes[decided] as string, cost, rate: upperBound(0, size, 0.05) };
    }
  }
  return dearest;
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function percentiles(values: Float64Array): readonly [number, number] {
  const ascending = sorted(values);
  return [quantile(ascending, 0.025), quantile(ascending, 0.975)];
}
