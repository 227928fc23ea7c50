/**
 * A convolutional network for signals, [length,1,channels]: convolutions along the length, each with its norm and activation, then
 * the global mean and a linear head. A signal is an image of width 1, so data sets, attacks and chains need nothing of their own; the
 * filters are [size,cin,cout]. In float32 throughout. Initial scales as in convnet.ts.
 */
import type { ModelConfig } from "../config/schema.js";
import { IsoergError } from "../util/error.js";
import type { LayerBuilder } from "./layer.js";
import { activation } from "./layers/activation.js";
import { convolution1d } from "./layers/convolution-1d.js";
import { linear } from "./layers/linear.js";
import { type NamedBuilder, sequence } from "./layers/sequence.js";
import { spatialMean } from "./layers/spatial-mean.js";
import { norm } from "./norm.js";

export type Conv1dConfig = Extract<ModelConfig, { kind: "conv1d" }>;

export function conv1d(config: Conv1dConfig, numClasses: number): LayerBuilder {
  const stages = config.stages.flatMap(({ channels, size, stride }, index): NamedBuilder[] => {
    const number = index + 1;
    const bias = config.norm.kind === "none";
    return [
      [`conv${number}`, convolution1d({ channels, size, stride, bias, gain: config.initGain })],
      ...norm(`norm${number}`, config.norm),
      [`activation${number}`, activation(config.activation)],
    ];
  });
  const network = sequence([...stages, ["mean", spatialMean()], ["head", linear({ features: numClasses, gain: 1 })]]);
  return (inputShape) => {
    if (inputShape[1] !== 1) {
      throw new IsoergError("CONFIG", `model.kind conv1d takes signals [length,1,channels], and the data's samples are [${inputShape}]`, {
        hint: "use convnet for images; a data set of signals has width 1",
      });
    }
    return network(inputShape);
  };
}
