/**
 * Whether a training goes astray: a pure decision on the figures of its steps.
 *
 * Each rule compares a signal's present level (the median of its last `patience` readings) with a limit, with its usual level
 * (the median of the `window` readings before those) or with its best level. One wild step is no alarm; a number that is not
 * finite is one at once. An alarm tells since when the signal has been bad, so that the run can go back to a state from before.
 * No clock, no randomness, no I/O: the same history gives the same judgement.
 */
import type { Adjustment } from "../../config/adjustment.js";
import type { GuardConfig } from "../../config/schema.js";
import { type Family, type Figures, RULES, type Rule } from "./rules.js";

export interface Reading {
  readonly step: number;
  readonly figures: Figures;
  /** The step did not commit: its numbers were not finite. */
  readonly fault?: string;
}

/** An alarm that was raised before, and the step that the run went back to. */
export interface PastAlarm {
  readonly step: number;
  readonly restoredStep: number;
}

export interface Past {
  readonly alarms: readonly PastAlarm[];
  readonly adjustment: Adjustment;
}

export type Judgement =
  | { readonly kind: "ok" }
  | {
      readonly kind: "rollback";
      readonly rule: string;
      readonly reason: string;
      /** The latest step whose state, before it was computed, may be trusted. */
      readonly goodBefore: number;
      /** All interventions so far and this one. */
      readonly adjustment: Adjustment;
    }
  | {
      readonly kind: "stop";
      readonly rule: string;
      readonly reason: string;
      /** As above. */
      readonly goodBefore: number;
      readonly tryThis: string;
    };

/** @param history readings in the order of their steps; the last one is judged. */
export function judge(history: readonly Reading[], policy: GuardConfig, past: Past): Judgement {
  const last = history.at(-1);
  if (last === undefined) return { kind: "ok" };
  const finding = last.fault === undefined ? firstFinding(history, policy) : nonFinite(history, last, last.fault, policy);
  if (finding === null) return { kind: "ok" };
  const { rule, family, sentence, onset, tryThis } = finding;
  const number = past.alarms.length + 1;
  const trusted = Math.max(0, onset - policy.patience);
  if (number > policy.maxAlarms) {
    const reason = `step ${last.step}: ${sentence}; alarm ${number}, and the guard takes a run back ${policy.maxAlarms} times at most`;
    return { kind: "stop", rule, reason, goodBefore: trusted, tryThis };
  }
  // Bad again right after going back: the state gone back to was bad already, so further this time.
  const previous = past.alarms.at(-1);
  const isStale = previous !== undefined && onset <= previous.restoredStep + policy.patience && previous.restoredStep > 0;
  const goodBefore = isStale ? Math.min(trusted, previous.restoredStep - 1) : trusted;
  const reason = `step ${last.step}: ${sentence}, bad since step ${onset}; alarm ${number} of ${policy.maxAlarms}`;
  return { kind: "rollback", rule, reason, goodBefore, adjustment: intervene(past.adjustment, family, policy.onAlarm) };
}

/** So many times over a limit, a single reading is an alarm. */
const WILD = 100;

/** The interventions so far and one more. */
export function intervene(before: Adjustment, family: Family, answer: GuardConfig["onAlarm"]): Adjustment {
  const { newStreams, lrFactor, stepsFactor, maxStepsFactor, energyL2 } = answer;
  const more = (factor: number): number => Math.min(maxStepsFactor, factor * stepsFactor);
  const salt = before.salt + (newStreams ? 1 : 0);
  const isGenerative = family === "generative";
  return {
    salt,
    lrFactor: before.lrFactor * lrFactor,
    samplerStepsFactor: isGenerative ? more(before.samplerStepsFactor) : before.samplerStepsFactor,
    attackStepsFactor: isGenerative ? before.attackStepsFactor : more(before.attackStepsFactor),
    energyL2: isGenerative ? Math.max(energyL2, before.energyL2 * 2) : before.energyL2,
  };
}

/** How many steps a history holds: several windows of the rarest reading, since drops are measured against the best level so far. */
export function historyLength({ window, patience }: Pick<GuardConfig, "window" | "patience">, every: number): number {
  return (window + patience) * Math.max(1, every) * 10;
}

interface Finding {
  readonly rule: string;
  readonly family: Family;
  readonly sentence: string;
  /** The first step of the bad stretch. */
  readonly onset: number;
  readonly tryThis: string;
}

function nonFinite(history: readonly Reading[], last: Reading, fault: string, policy: GuardConfig): Finding {
  // What led to it may have been visible before: the earliest onset that a rule would see on half its limit.
  const earlier = firstFinding(history.slice(0, -1), policy, 0.5);
  return {
    rule: "non-finite",
    family: "generative",
    sentence: fault,
    onset: Math.min(last.step, earlier?.onset ?? last.step),
    tryThis: "a smaller optimizer.lr, optimizer.clipNorm, a larger objective.energy-l2",
  };
}

function firstFinding(history: readonly Reading[], policy: GuardConfig, strictness = 1): Finding | null {
  for (const rule of RULES) {
    const finding = examine(rule, history, policy, strictness);
    if (finding) return finding;
  }
  return null;
}

interface Value {
  readonly step: number;
  readonly value: number;
}

function examine(rule: Rule, history: readonly Reading[], policy: GuardConfig, strictness: number): Finding | null {
  const { patience, window } = rule.own ?? policy;
  // A step that did not give this reading says nothing new.
  const last = rule.read(history.at(-1)?.figures ?? {});
  if (last === undefined) return null;
  const recent = latest(rule, history, patience + window);
  if (recent.length < patience) return null;
  const level = median(recent.slice(-patience));
  const { name, family, what, tryThis } = rule;
  const found = (threshold: number, isBad: (value: number) => boolean, against: string): Finding => ({
    rule: name,
    family,
    sentence: `${what} is ${digits(rule.kind === "limit" ? Math.max(level, last) : level)}, ${against} ${digits(threshold)}`,
    onset: onsetOf(latest(rule, history), isBad),
    tryThis,
  });
  switch (rule.kind) {
    case "limit": {
      const limit = rule.limit(policy.limits) * strictness;
      return level > limit || last > limit * WILD ? found(limit, (value) => value > limit / 2, "over the limit of") : null;
    }
    case "least": {
      const limit = rule.limit(policy.limits);
      return level < limit ? found(limit, (value) => value < limit * 2, "below the least of") : null;
    }
    case "growth": {
      if (recent.length < patience + window) return null;
      const usual = median(recent.slice(0, -patience));
      const limit = Math.max(rule.floor ?? 0, usual * policy.growth) * strictness;
      return level > limit ? found(usual, (value) => value > limit / 2, `over ${digits(limit)}, while it is usually`) : null;
    }
    case "drop": {
      const values = latest(rule, history);
      if (values.length < 2 * window) return null;
      const before = values.slice(0, -patience);
      let best = Number.NEGATIVE_INFINITY;
      for (let to = before.length; to >= window; to -= window) best = Math.max(best, median(before.slice(to - window, to)));
      const limit = best - rule.limit(policy.limits) * strictness;
      return level < limit ? found(best, (value) => value < (best + limit) / 2, "after a best level of") : null;
    }
    default:
      return rule.kind satisfies never;
  }
}

/** The last readings of a rule's signal, in the order of their steps. */
function latest(rule: Rule, history: readonly Reading[], count = Number.POSITIVE_INFINITY): Value[] {
  const values: Value[] = [];
  for (let i = history.length - 1; i >= 0 && values.length < count; i--) {
    const { step, figures } = history[i] as Reading;
    const value = rule.read(figures);
    if (value !== undefined) values.push({ step, value });
  }
  return values.reverse();
}

/** The first step of the stretch of bad readings that reaches to the end; two better ones in a row end it. */
function onsetOf(values: readonly Value[], isBad: (value: number) => boolean): number {
  let onset = (values.at(-1) as Value).step;
  let numBetter = 0;
  for (let i = values.length - 1; i >= 0 && numBetter < 2; i--) {
    const { step, value } = values[i] as Value;
    if (isBad(value)) {
      onset = step;
      numBetter = 0;
    } else numBetter++;
  }
  return onset;
}

function median(values: readonly Value[]): number {
  const ascending = values.map(({ value }) => value).sort((a, b) => a - b);
  const middle = (ascending.length - 1) / 2;
  return ((ascending[Math.floor(middle)] as number) + (ascending[Math.ceil(middle)] as number)) / 2;
}

function digits(value: number): string {
  return Number(value.toPrecision(4)).toString();
}
