/** The normalisation layer that a configuration asks for: one layer, or none at all. A convolution before one needs no bias. */
import type { ModelConfig } from "../config/schema.js";
import { groupNorm } from "./layers/group-norm.js";
import type { NamedBuilder } from "./layers/sequence.js";

export type NormConfig = Extract<ModelConfig, { kind: "convnet" }>["norm"];

export function norm(name: string, config: NormConfig): NamedBuilder[] {
  return config.kind === "group" ? [[name, groupNorm(config.groups)]] : [];
}
