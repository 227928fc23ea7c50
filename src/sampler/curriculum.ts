/**
 * How long chains are, where that is learned (DAT): T begins at 0 and grows by one whenever the model tells data from generated
 * samples well, judged by the AUC of their energies over a window of the latest samples of both kinds.
 *
 * The decision is pure and its input is the same on every worker: the energies of the whole global batch, gathered by position.
 * So all workers hold the same state; it is in every checkpoint. After T has grown the window fills anew, so that the next
 * decision rests on chains of the new length alone.
 */
import type { StatePart } from "../checkpoint/state-part.js";
import type { SamplerConfig } from "../config/schema.js";
import { IsoergError } from "../util/error.js";

export interface CurriculumState {
  /** T */
  readonly steps: number;
  /** The latest energies E(x), oldest first, at most `window` of each kind. */
  readonly data: Float32Array;
  readonly generated: Float32Array;
}

export interface CurriculumOptions {
  readonly auc: number;
  readonly window: number;
  readonly maxSteps: number;
}

export interface Energies {
  readonly data: Float32Array;
  readonly generated: Float32Array;
}

export const FRESH_CURRICULUM: CurriculumState = { steps: 0, data: new Float32Array(0), generated: new Float32Array(0) };

/** The state after a committed step, and what it says. */
export function advanceCurriculum(state: CurriculumState, seen: Energies, options: CurriculumOptions): [CurriculumState, string] {
  const { auc, window, maxSteps } = options;
  const data = latest(state.data, seen.data, window);
  const generated = latest(state.generated, seen.generated, window);
  if (data.length < window || generated.length < window) {
    return [{ ...state, data, generated }, `${Math.min(data.length, generated.length)} of ${window} samples seen at T = ${state.steps}`];
  }
  const reached = areaUnderCurve(data, generated);
  if (reached < auc) return [{ ...state, data, generated }, `AUC ${reached.toFixed(3)} at T = ${state.steps}, ${auc} is asked for`];
  if (state.steps >= maxSteps) return [{ ...state, data, generated }, `AUC ${reached.toFixed(3)} at the last T, ${maxSteps}`];
  return [{ ...FRESH_CURRICULUM, steps: state.steps + 1 }, `AUC ${reached.toFixed(3)} at T = ${state.steps}: T is now ${state.steps + 1}`];
}

/** P(E(data) < E(generated)) + P(equal) / 2 over all pairs, by ranks (Mann & Whitney 1947): 1 where data always lies lower. */
export function areaUnderCurve(data: Float32Array, generated: Float32Array): number {
  const low = Float32Array.from(data).sort();
  const high = Float32Array.from(generated).sort();
  let below = 0; // of `low`, less than the value at hand
  let upTo = 0; // of `low`, less than or equal to it
  let sum = 0;
  for (const value of high) {
    while (below < low.length && (low[below] as number) < value) below++;
    upTo = Math.max(upTo, below);
    while (upTo < low.length && (low[upTo] as number) <= value) upTo++;
    sum += (below + upTo) / 2;
  }
  return sum / (low.length * high.length);
}

function latest(before: Float32Array, seen: Float32Array, window: number): Float32Array {
  const all = new Float32Array(before.length + seen.length);
  all.set(before);
  all.set(seen, before.length);
  return all.slice(Math.max(0, all.length - window));
}

const PREFIX = "curriculum.";

/** A curriculum under way: holds the state between steps. */
export class Curriculum {
  readonly #options: CurriculumOptions;
  #state: CurriculumState = FRESH_CURRICULUM;

  constructor(options: CurriculumOptions) {
    this.#options = options;
  }

  /** Of the chains of the coming step. */
  get steps(): number {
    return this.#state.steps;
  }

  /** Takes the energies of a step's whole global batch. Returns the state before it, for `goBack`. */
  observe(seen: Energies): CurriculumState {
    const before = this.#state;
    [this.#state] = advanceCurriculum(before, seen, this.#options);
    return before;
  }

  /** Takes the last `observe` back: its step did not commit. */
  goBack(before: CurriculumState): void {
    this.#state = before;
  }

  /** T, how many energies of each kind are in the window, and those, in tensors of one size. */
  save(): StatePart[] {
    const { steps, data, generated } = this.#state;
    const { window } = this.#options;
    const part = { file: "optimizer", row: 0 } as const;
    const padded = (values: Float32Array): Float32Array => {
      const all = new Float32Array(window);
      all.set(values);
      return all;
    };
    return [
      { ...part, tensor: `${PREFIX}state`, dtype: "I32", shape: [3], data: Int32Array.of(steps, data.length, generated.length) },
      { ...part, tensor: `${PREFIX}data`, dtype: "F32", shape: [window], data: padded(data) },
      { ...part, tensor: `${PREFIX}generated`, dtype: "F32", shape: [window], data: padded(generated) },
    ];
  }

  /** @throws IsoergError CHECKPOINT where the parts have no curriculum. */
  restore(parts: readonly StatePart[]): void {
    const find = (name: string) => parts.find((part) => part.tensor === PREFIX + name)?.data;
    const [state, data, generated] = [find("state"), find("data"), find("generated")];
    if (!state || !data || !generated) {
      throw new IsoergError("CHECKPOINT", "the checkpoint has no 'curriculum.state'", {
        hint: "it was written without sampler.curriculum; resume with the configuration that wrote it, or start a new run",
      });
    }
    const [steps = 0, numData = 0, numGenerated = 0] = state;
    // A window that was made shorter keeps the latest.
    const { window } = this.#options;
    const latestOf = (values: ArrayLike<number>, count: number) => Float32Array.from(values).slice(Math.max(0, count - window), count);
    this.#state = { steps, data: latestOf(data, numData), generated: latestOf(generated, numGenerated) };
  }
}

/** null where the configuration has none. */
export function createCurriculum({ curriculum, steps }: Pick<SamplerConfig, "curriculum" | "steps">): Curriculum | null {
  return curriculum && new Curriculum({ ...curriculum, maxSteps: steps });
}

/** Whether a part of a checkpoint's `optimizer` file is a curriculum's. */
export function isCurriculumPart({ tensor }: Pick<StatePart, "tensor">): boolean {
  return tensor.startsWith(PREFIX);
}
