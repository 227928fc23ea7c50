/**
 * What one pass keeps for its way back: a stack of tensors, pushed by each layer's forward and popped in reverse by its
 * backward. A pass with a narrower purpose keeps less: attacks and samplers never hold what only weight gradients need.
 */
import type { Tensor } from "@tensorflow/tfjs-core";
import { invariant } from "../util/error.js";
import type { PassStatistics } from "./group-statistics.js";

/**
 * `logits`: no way back. `input`: back to the input alone. `update`: back to the parameters. `features`: only the latest of what an
 * update would keep, which after a whole pass is the input of the last layer that has weights.
 */
export type PassPurpose = "logits" | "input" | "update" | "features";

export class Kept {
  readonly purpose: PassPurpose;
  /** Where this pass takes the statistics of a norm over groups of samples from. */
  readonly statistics: PassStatistics;
  readonly #stack: Tensor[] = [];

  constructor(purpose: PassPurpose, statistics: PassStatistics = "running") {
    this.purpose = purpose;
    this.statistics = statistics;
  }

  /** Takes over a tensor that dL/dx needs: kept for any way back, else freed. */
  forInput(x: Tensor): void {
    if (this.purpose === "logits" || this.purpose === "features") x.dispose();
    else this.#stack.push(x);
  }

  /** Takes over a tensor that only the parameters' gradients need: kept for an update, else freed. */
  forParameters(x: Tensor): void {
    if (this.purpose === "features") this.dispose();
    if (this.purpose === "update" || this.purpose === "features") this.#stack.push(x);
    else x.dispose();
  }

  /** Gives the latest tensor back; it is the caller's to free. */
  take(): Tensor {
    const last = this.#stack.pop();
    invariant(last, "a backward pass took more than its forward pass kept");
    return last;
  }

  dispose(): void {
    for (const tensor of this.#stack) tensor.dispose();
    this.#stack.length = 0;
  }
}
