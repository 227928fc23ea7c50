/** The registry of models: the one place that knows every kind. To add one is to add a file, a line here and its keys in the schema. */
import type { ModelConfig } from "../config/schema.js";
import { conv1d } from "./conv1d.js";
import { convnet } from "./convnet.js";
import type { LayerBuilder } from "./layer.js";
import { mlp } from "./mlp.js";
import type { Model } from "./model.js";
import { createNetwork } from "./network.js";
import { resnet18 } from "./resnet.js";
import { wideResnet } from "./wide-resnet.js";

/** Throws IsoergError CONFIG where a configuration does not fit the data's shape. */
export function createModel(config: ModelConfig, inputShape: readonly [number, number, number], numClasses: number): Model {
  const narrowest = config.kind === "mlp" || config.kind === "conv1d" ? "fp32" : "bf16";
  return createNetwork({ inputShape, numClasses, input: config.input, narrowest, layers: layersOf(config, numClasses) });
}

function layersOf(config: ModelConfig, numClasses: number): LayerBuilder {
  switch (config.kind) {
    case "convnet":
      return convnet(config, numClasses);
    case "wide-resnet":
      return wideResnet(config, numClasses);
    case "resnet-18":
      return resnet18(config, numClasses);
    case "conv1d":
      return conv1d(config, numClasses);
    case "mlp":
      return mlp(config, numClasses);
    default:
      return config satisfies never;
  }
}
