/**
 * How many samples a norm takes its statistics over: what slices, chunks and chains are cut in. 1 where samples are apart.
 *
 * Group g of a batch is made of positions g G .. g G + G - 1, whoever computes them; the last one of an epoch's last batch is of
 * what remains.
 */
import type { ModelConfig } from "./schema.js";

export function groupSizeOf(model: ModelConfig): number {
  return "norm" in model && model.norm.kind === "ghost-batch" ? model.norm.groupSize : 1;
}
