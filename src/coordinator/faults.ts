/**
 * What to do about a worker that breaks at a step: a pure decision on what broke at that step before.
 *
 * A fault may be the worker's own (a device, its memory, a bug that strikes now and then); then the step succeeds without it. Or it
 * may be the step's: a sample, a chain, a setting that breaks whoever computes it; then it comes again, wherever the step is
 * tried. What tells one from the other is what the attempts have in common. A poisoned position is in the slice of the worker that
 * broke, every time, and breaks it in the same way; two independent faults share that by chance only. So the run fails when three
 * attempts broke with the same error at a position that all three have in common, which is then named with its samples; or when
 * six broke, whatever the errors. Until then the worker is let go and the step comes again without it.
 *
 * Killed processes and lost connections are not counted: a whole rack of spot machines may go within one step.
 */
import type { Range } from "../util/range.js";

/** A worker that broke (an exception, a thread that ended or hung), at the step under way. */
export interface StepFault {
  readonly worker: string;
  /** The attempt: each has a generation of its own. */
  readonly generation: number;
  /** Of the global batch: what it computed. */
  readonly positions: Range;
  readonly reason: string;
}

export interface FaultState {
  readonly step: number;
  /** At this step so far, in their order; the last one is to be decided on. */
  readonly faults: readonly StepFault[];
  /** Sample ids of the step's global batch, in the order of their positions. */
  readonly batch: Uint32Array;
  /** Whether enough workers are left without this one, or others are waited for. */
  readonly canSpareOne: boolean;
}

export type FaultDecision =
  /** Without this worker, the step comes again. */
  { readonly kind: "evict" } | { readonly kind: "fail" };

const SAME = 3;
const ANY = 6;
/** Samples that are named at most. */
const MAX_NAMED = 8;

/** @returns what to do about the last fault, and why. */
export function decideFault({ step, faults, batch, canSpareOne }: FaultState): [FaultDecision, string] {
  const last = faults.at(-1);
  if (last === undefined) return [{ kind: "evict" }, ""];
  const attempts = new Set(faults.map(({ generation }) => generation)).size;
  const before = attempts > 1 ? `; it broke before on ${[...new Set(faults.slice(0, -1).map(({ worker }) => worker))].join(", ")}` : "";
  const { numAlike, common } = sharedBy(last, faults);
  if (numAlike >= SAME) {
    const ids = [...batch.subarray(common.from, common.to)];
    const named = ids.length <= MAX_NAMED ? ids.join(", ") : `${ids.slice(0, MAX_NAMED).join(", ")}, ...`;
    const where = `positions ${common.from} to ${common.to - 1} of the batch (samples ${named})`;
    return [
      { kind: "fail" },
      `${last.reason}; the same error came in ${numAlike} attempts at step ${step}, each time where ${where} were computed`,
    ];
  }
  if (attempts >= ANY) return [{ kind: "fail" }, `${last.reason}; this was attempt ${attempts} at step ${step}${before}`];
  if (!canSpareOne) return [{ kind: "fail" }, `${last.reason}; no worker is left to go on without it${before}`];
  return [{ kind: "evict" }, last.reason];
}

/** How many attempts broke in the same way as the last one, at positions that all of them have in common; the newest first. */
function sharedBy(last: StepFault, faults: readonly StepFault[]): { numAlike: number; common: Range } {
  let common = last.positions;
  const attempts = new Set([last.generation]);
  for (const fault of faults.toReversed()) {
    if (attempts.has(fault.generation) || kindOf(fault.reason) !== kindOf(last.reason)) continue;
    const both = { from: Math.max(common.from, fault.positions.from), to: Math.min(common.to, fault.positions.to) };
    if (both.to <= both.from) continue;
    common = both;
    attempts.add(fault.generation);
  }
  return { numAlike: attempts.size, common };
}

/** An error without what differs from one time to the next: ranks, steps, addresses, sizes. */
function kindOf(reason: string): string {
  return reason.replaceAll(/0x[0-9a-f]+|\d+([.,]\d+)*/gi, "#");
}
