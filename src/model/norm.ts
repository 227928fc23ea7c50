/** The normalisation layer that a configuration asks for: one layer, or none at all. A convolution before one needs no bias. */
import type { ModelConfig } from "../config/schema.js";
import { ghostBatchNorm } from "./layers/ghost-batch-norm.js";
import { groupNorm } from "./layers/group-norm.js";
import type { NamedBuilder } from "./layers/sequence.js";

export type NormConfig = Extract<ModelConfig, { kind: "convnet" }>["norm"];

export function norm(name: string, config: NormConfig): NamedBuilder[] {
  switch (config.kind) {
    case "none":
      return [];
    case "group":
      return [[name, groupNorm(config.groups)]];
    case "ghost-batch":
      return [[name, ghostBatchNorm(config.groupSize)]];
    default:
      return config satisfies never;
  }
}
