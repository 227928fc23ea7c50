/**
 * A guarded training of one worker in one process: what the coordinator does for a run of many, with states kept in memory.
 * For benchmarks, searches and tests; no file is written.
 */
import type { StatePart } from "../../checkpoint/state-part.js";
import { type Adjustment, adjustConfig, NO_ADJUSTMENT } from "../../config/adjustment.js";
import type { Turn } from "../link.js";
import { type TrainOptions, train } from "../loop.js";
import { createSoloLink, type SoloOptions } from "../solo-link.js";
import { historyLength, type Judgement, judge, type PastAlarm, type Reading } from "./judge.js";
import { isGuarded } from "./policy.js";

export interface GuardedOptions extends Omit<TrainOptions, "link" | "salt"> {
  readonly solo: Omit<SoloOptions, "adjustment" | "checkpointAfter">;
}

export interface GuardedEnd {
  readonly stop: Extract<Turn, { kind: "stop" }>;
  readonly alarms: readonly SoloAlarm[];
}

export type SoloAlarm = PastAlarm & { readonly rule: string; readonly reason: string; readonly adjustment: Adjustment };

interface Saved {
  readonly step: number;
  readonly parts: readonly StatePart[];
}

/** Trains to the end, back to saved states where the guard says so; keeps `checkpoint.keepLast` states, one every `checkpoint.everySteps`. */
export function trainGuarded({ config, solo, ...options }: GuardedOptions): GuardedEnd {
  const { guard, checkpoint, sampler } = config;
  const guarded = isGuarded(config);
  const alarms: SoloAlarm[] = [];
  let adjustment = NO_ADJUSTMENT;
  let history: Reading[] = [];
  let saved: Saved[] = solo.resume ? [solo.resume] : [];
  for (;;) {
    let judgement: Judgement = { kind: "ok" };
    const resume = saved.at(-1);
    const { resume: _, ...rest } = solo;
    let step = resume?.step ?? 0;
    const inner = createSoloLink({
      ...rest,
      adjustment,
      ...(resume && { resume }),
      checkpointAfter: (step) => (step + 1) % checkpoint.everySteps === 0 || step === solo.numSteps - 1,
      onSave(nextStep, parts) {
        if (judgement.kind !== "ok") return;
        const copies = parts.map((part) => ({ ...part, data: part.data.slice() }));
        saved = [...saved, { step: nextStep, parts: copies }].slice(-checkpoint.keepLast);
        solo.onSave?.(nextStep, parts);
      },
    });
    const link: typeof inner = {
      ...inner,
      next: () => (judgement.kind === "ok" ? inner.next() : { kind: "stop", outcome: "asked", reason: "the guard goes back" }),
      vote(ballot) {
        inner.vote(ballot);
        if (!guarded || (!ballot.ok && ballot.fault !== "non-finite")) return;
        const fault = ballot.ok ? {} : { fault: ballot.reason };
        history = [...history, { step, figures: ballot.ok ? ballot.metrics : {}, ...fault }].slice(-historyLength(guard, sampler.every));
        step++;
        judgement = judge(history, guard, { alarms, adjustment });
      },
    };
    const stop = train({ ...options, config: adjustConfig(config, adjustment), link, salt: adjustment.salt });
    const found = judgement as Judgement; // set by the vote
    if (found.kind === "ok") return { stop, alarms };
    if (found.kind === "stop") return { stop: { kind: "stop", outcome: "failed", reason: found.reason }, alarms };
    saved = saved.filter((state) => state.step <= found.goodBefore);
    const restoredStep = saved.at(-1)?.step ?? 0;
    alarms.push({ step: step - 1, restoredStep, rule: found.rule, reason: found.reason, adjustment: found.adjustment });
    adjustment = found.adjustment;
    history = history.filter((reading) => reading.step < restoredStep);
  }
}
