/**
 * How many samples a norm takes its statistics over: what slices, chunks and chains are cut in. 1 where samples are apart.
 *
 * Group g of a batch is made of positions g G .. g G + G - 1, whoever computes them; the last one of an epoch's last batch is of
 * what remains.
 */
import type { Config, ModelConfig } from "./schema.js";

export function groupSizeOf(model: ModelConfig): number {
  return "norm" in model && model.norm.kind === "ghost-batch" ? model.norm.groupSize : 1;
}

/** What to tell people where a batch has fewer groups than there are workers; null where it has enough. */
export function idleWorkers({ data, model }: Pick<Config, "data" | "model">, workers: number): string | null {
  const groupSize = groupSizeOf(model);
  const groups = Math.ceil(data.batchSize / groupSize);
  if (groupSize === 1 || workers <= groups) return null;
  const idle = workers - groups;
  return `${idle} of ${workers} workers will have nothing to compute: a batch of ${data.batchSize} samples is ${groups} of the norm's groups of ${groupSize}; make model.norm.groupSize smaller or data.batchSize larger`;
}
