/**
 * A plain convolutional network: 3x3 convolutions, each with its activation, then the global mean and a linear head.
 *
 * Without batch statistics the initial scale decides whether a signal survives the depth: weights ~ N(0, gain / sqrt(fan in)).
 * The default gain of 1.5 suits SiLU, whose output keeps .36 of a unit normal input's second moment: 1.68 would hold it exactly.
 * The head starts at N(0, 1 / sqrt(fan in)), not at zero: a zero head has no input gradient, so the first attacks and chains
 * would not move.
 */
import type { ModelConfig } from "../config/schema.js";
import type { LayerBuilder } from "./layer.js";
import { activation } from "./layers/activation.js";
import { convolution } from "./layers/convolution.js";
import { linear } from "./layers/linear.js";
import { type NamedBuilder, sequence } from "./layers/sequence.js";
import { spatialMean } from "./layers/spatial-mean.js";
import { norm } from "./norm.js";

export type ConvnetConfig = Extract<ModelConfig, { kind: "convnet" }>;

export function convnet(config: ConvnetConfig, numClasses: number): LayerBuilder {
  const stages = config.stages.flatMap(({ channels, stride }, index): NamedBuilder[] => {
    const number = index + 1;
    return [
      [`conv${number}`, convolution({ channels, size: 3, stride, bias: config.norm.kind === "none", gain: config.initGain })],
      ...norm(`norm${number}`, config.norm),
      [`activation${number}`, activation(config.activation)],
    ];
  });
  return sequence([...stages, ["mean", spatialMean()], ["head", linear({ features: numClasses, gain: 1 })]]);
}
