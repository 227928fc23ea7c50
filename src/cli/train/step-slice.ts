/**
 * A training step in small: the same step of fewer samples and chains, and what its phases say of the whole one. Pure.
 *
 * Every phase costs a fixed part (laying filters out, updating the parameters) and a part for each sample, chain or row that it
 * sees. Two sizes tell both; from one alone, all of it is taken to grow in proportion, which is too much rather than too little.
 */
import { groupSizeOf } from "../../config/group-size.js";
import type { Config, TrainingAttackConfig } from "../../config/schema.js";
import type { ViewName } from "../../objective/view.js";

/** What one step computes on. */
export interface StepSize {
  readonly samples: number;
  readonly chains: number;
}

export interface MeasuredStep {
  readonly size: StepSize;
  readonly phasesMs: Readonly<Record<string, number>>;
  /** All that it took to measure, set-up and warm-up too. */
  readonly tookMs: number;
}

export function wholeStep({ data, sampler }: Config, views: ReadonlySet<ViewName>): StepSize {
  return { samples: data.batchSize, chains: views.has("generated") ? sampler.chains : 0 };
}

/** The smallest step there is: one sample and one chain, or one group of those whose statistics are taken together. */
export function smallestStep(config: Config, whole: StepSize): StepSize {
  const group = groupSizeOf(config.model);
  return { samples: Math.min(group, whole.samples), chains: Math.min(group, whole.chains) };
}

/** The largest step that can be measured, with a warm-up, in the time left; null where that isn't twice what was measured. */
export function nextStep({ size, phasesMs }: MeasuredStep, whole: StepSize, leftMs: number): StepSize | null {
  const factor = Math.floor(leftMs / (2 * totalOf(phasesMs)));
  if (factor < 2 || (size.samples === whole.samples && size.chains === whole.chains)) return null;
  return { samples: Math.min(whole.samples, factor * size.samples), chains: Math.min(whole.chains, factor * size.chains) };
}

/** The configuration of a step of that size in the middle of the training, with all its chains' steps and nothing that is done now and then. */
export function configOfStep(config: Config, { samples, chains }: StepSize): Config {
  const { sampler, attack, memory } = config;
  const group = groupSizeOf(config.model);
  // A step that goes through the network in chunks does so in small too: it costs a forward pass more.
  const half = Math.max(group, group * Math.floor(samples / (2 * group)));
  const slots = Math.ceil(sampler.bufferSize / Math.max(1, sampler.chains));
  return {
    ...config,
    data: { ...config.data, batchSize: samples },
    sampler: { ...sampler, chains, bufferSize: Math.max(1, slots * chains), every: 1, curriculum: null },
    attack: { ...attack, overfitting: { ...attack.overfitting, everySteps: 0 } },
    memory: { ...memory, microBatch: memory.microBatch === null ? null : Math.min(memory.microBatch, half) },
  };
}

export interface Extrapolation {
  readonly phasesMs: Readonly<Record<string, number>>;
  readonly totalMs: number;
}

/** The phases of the whole step, from those of one or two smaller ones (the larger last). Chains count as often as they are advanced. */
export function extrapolate(
  measured: readonly MeasuredStep[],
  whole: StepSize,
  { sampler }: Config,
  views: ReadonlySet<ViewName>,
): Extrapolation {
  const last = measured.at(-1) as MeasuredStep;
  const before = measured.length > 1 ? measured[0] : undefined;
  const average = { samples: whole.samples, chains: whole.chains / sampler.every };
  const phasesMs: Record<string, number> = {};
  for (const [phase, ms] of Object.entries(last.phasesMs)) {
    const count = (size: StepSize): number => countOf(phase, size, views);
    const [from, to] = [count(last.size), count(average)];
    const inProportion = from === 0 ? 0 : (ms * to) / from;
    const apart = before ? from - count(before.size) : 0;
    const slope = apart > 0 ? (ms - (before?.phasesMs[phase] ?? 0)) / apart : ms / Math.max(1, from);
    // Noise may turn the line down, or let it begin below nothing.
    phasesMs[phase] = Math.max(Math.min(ms, inProportion), Math.min(inProportion, ms + slope * (to - from)));
  }
  return { phasesMs, totalMs: totalOf(phasesMs) };
}

/** What a phase's time grows with; the same for every size where it doesn't. */
function countOf(phase: string, { samples, chains }: StepSize, views: ReadonlySet<ViewName>): number {
  switch (phase) {
    case "wait":
    case "reduce":
    case "vote":
    case "update":
      return 1;
    case "sample":
      return chains;
    case "gradient":
      return numMade(views) * samples + chains;
    default:
      return samples;
  }
}

/** Additions and multiplications of the network's passes in a whole step. An input-gradient pass costs 2 forward passes, an update 3. */
export function operationsOfStep(
  config: Config,
  { samples, chains }: StepSize,
  views: ReadonlySet<ViewName>,
  macsPerSample: number,
): number {
  const { attack, sampler, optimizer } = config;
  const advanced = chains / sampler.every;
  const passes = (views.has("adversarial") ? attacks(attack) * samples : 0) + sampler.steps * advanced;
  const updates =
    (attack.kind === "free" || attack.kind === "yopo" ? attack.replays : 1) * (optimizer.perturbation.kind === "none" ? 1 : 2);
  return macsPerSample * (4 * passes + 6 * updates * (numMade(views) * samples + advanced));
}

/** Views that are made of each clean sample, itself included. */
function numMade(views: ReadonlySet<ViewName>): number {
  return views.size - (views.has("generated") ? 1 : 0);
}

/** Input-gradient passes of one sample's attack. */
function attacks({ kind, steps, restarts }: TrainingAttackConfig): number {
  if (kind === "pgd") return steps * restarts;
  return kind === "free" || kind === "yopo" ? 0 : 1; // those two move with the update's own passes
}

function totalOf(phasesMs: Readonly<Record<string, number>>): number {
  return Object.values(phasesMs).reduce((sum, ms) => sum + ms, 0);
}
