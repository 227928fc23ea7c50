/** Averaged parameters, which are what gets evaluated: exponential (`ema.ts`) or of late weights (`swa.ts`). */
import type { Tensor1D } from "@tensorflow/tfjs-core";

export interface AverageUpdate {
  /** Both stay the caller's. */
  readonly before: Tensor1D;
  readonly after: Tensor1D;
  /** How far the training has come, in [0,1]. */
  readonly progress: number;
  /** Made so far, this one included. */
  readonly numUpdates: number;
}

export interface AverageState {
  readonly value: Tensor1D | null;
  /** Weights in the average; 0 where nobody counts. */
  readonly count: number;
}

export interface Average {
  /** null where there is none yet. */
  readonly value: Tensor1D | null;
  readonly state: AverageState;
  update(update: AverageUpdate): void;
  /** Takes the tensor over. */
  restore(state: AverageState): void;
  dispose(): void;
}
