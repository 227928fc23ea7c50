/**
 * An update rule: from parameters, gradient and learning rate to new parameters, with flat float32 state on the engine.
 *
 * Workers must end with identical bits (DESIGN.md rule 3). So a rule consists of elementwise operations that IEEE 754 rounds
 * correctly (+, -, *, /, sqrt), one at a time and in a fixed order, and of scalars computed on the host. No sums, no fused kernels.
 */
import type { Tensor, Tensor1D } from "@tensorflow/tfjs-core";

export interface UpdateRule {
  /** Takes `gradient` over. The result is the caller's; `parameters` stay so. */
  update(parameters: Tensor1D, gradient: Tensor1D, learningRate: number): Tensor1D;
  /** How many updates were made. */
  readonly numUpdates: number;
  /** What state there is after an update. */
  readonly stateNames: readonly string[];
  /** By those names; empty before the first update. */
  readonly state: ReadonlyMap<string, Tensor1D>;
  /** Replaces the state, taking the tensors over. */
  restore(state: ReadonlyMap<string, Tensor1D>, numUpdates: number): void;
  dispose(): void;
}

/** Hands a result on and frees what it was computed from. */
export function freeing<T extends Tensor>(result: T, ...used: readonly Tensor[]): T {
  for (const tensor of used) tensor.dispose();
  return result;
}
