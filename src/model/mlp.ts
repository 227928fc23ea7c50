/** A multi-layer perceptron on flattened samples, in float32 throughout: the smallest model, for tables, toys and tests. */
import type { ModelConfig } from "../config/schema.js";
import type { LayerBuilder } from "./layer.js";
import { activation } from "./layers/activation.js";
import { flatten } from "./layers/flatten.js";
import { linear } from "./layers/linear.js";
import { type NamedBuilder, sequence } from "./layers/sequence.js";

export type MlpConfig = Extract<ModelConfig, { kind: "mlp" }>;

/** As for the convnet: between He's gain and the one that holds SiLU's second moment. */
const HIDDEN_GAIN = 1.5;

export function mlp(config: MlpConfig, numClasses: number): LayerBuilder {
  const hidden = config.hidden.flatMap((features, index): NamedBuilder[] => [
    [`linear${index + 1}`, linear({ features, gain: HIDDEN_GAIN })],
    [`activation${index + 1}`, activation(config.activation)],
  ]);
  return sequence([["flatten", flatten()], ...hidden, ["head", linear({ features: numClasses, gain: 1 })]]);
}
