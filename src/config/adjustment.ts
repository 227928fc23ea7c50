/**
 * What the stability guard has changed so far of a run's configuration: the sum of its interventions. It is part of the run's
 * state: recorded in the journal, sent with each generation, and so equal on all workers and after a resume. The plan of
 * samples and the initial parameters do not depend on it.
 */
import type { Config } from "./schema.js";

export interface Adjustment {
  /** Counts redrawings of the random streams; 0 leaves them as the seed says. */
  readonly salt: number;
  readonly lrFactor: number;
  readonly samplerStepsFactor: number;
  readonly attackStepsFactor: number;
  /** Least weight of energy-l2; 0 leaves it as configured. */
  readonly energyL2: number;
}

export const NO_ADJUSTMENT: Adjustment = { salt: 0, lrFactor: 1, samplerStepsFactor: 1, attackStepsFactor: 1, energyL2: 0 };

export function isSameAdjustment(a: Adjustment, b: Adjustment): boolean {
  return (Object.keys(NO_ADJUSTMENT) as (keyof Adjustment)[]).every((key) => a[key] === b[key]);
}

/** The configuration to train with. Keys that an adjustment does not name stay as they are. */
export function adjustConfig(config: Config, adjustment: Adjustment): Config {
  if (isSameAdjustment(adjustment, NO_ADJUSTMENT)) return config;
  const { lrFactor, samplerStepsFactor, attackStepsFactor, energyL2 } = adjustment;
  const l2 = config.objective["energy-l2"];
  return {
    ...config,
    optimizer: { ...config.optimizer, lr: config.optimizer.lr * lrFactor },
    sampler: { ...config.sampler, steps: Math.ceil(config.sampler.steps * samplerStepsFactor) },
    attack: { ...config.attack, steps: Math.ceil(config.attack.steps * attackStepsFactor) },
    objective: energyL2 > l2.value ? { ...config.objective, "energy-l2": { ...l2, value: energyL2 } } : config.objective,
  };
}

/** 2^64 divided by the golden ratio, made odd: multiples of it lie far apart. */
const SPREAD = 0x9e3779b97f4a7c15n;

/** The seed of the random streams of a step (never of the plan, nor of the initial parameters). */
export function streamSeed(seed: bigint, { salt }: Pick<Adjustment, "salt">): bigint {
  return BigInt.asUintN(64, seed ^ (BigInt(salt) * SPREAD));
}

/** For people: `lr x 0.5, Langevin steps x 2, energy-l2 at least 0.02, new random streams`. */
export function describeAdjustment({ salt, lrFactor, samplerStepsFactor, attackStepsFactor, energyL2 }: Adjustment): string {
  const parts = [
    lrFactor === 1 ? "" : `learning rate x ${lrFactor}`,
    samplerStepsFactor === 1 ? "" : `Langevin steps x ${samplerStepsFactor}`,
    attackStepsFactor === 1 ? "" : `attack steps x ${attackStepsFactor}`,
    energyL2 === 0 ? "" : `energy-l2 at least ${energyL2}`,
    salt === 0 ? "" : salt === 1 ? "new random streams" : `random streams redrawn ${salt} times`,
  ].filter((part) => part !== "");
  return parts.length === 0 ? "nothing changed" : parts.join(", ");
}
