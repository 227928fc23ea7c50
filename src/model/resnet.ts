/**
 * ResNet-18 with a stem for small images (He et al. 2016; the CIFAR form that robust training reports as "ResNet-18"): a 3x3
 * convolution of stride 1 and no pooling, then four stages of two post-activation blocks with w, 2w, 4w and 8w channels and
 * strides 1, 2, 2, 2, the global mean and a linear head. w is 64 in the original.
 *
 *   o = activation(norm2(conv2(activation(norm1(conv1(x))))) + shortcut(x))      shortcut: x, or norm(1x1 convolution)
 *
 * Without a norm the last convolution of a block starts at zero and the first at He's scale times L^(-1/2) for L blocks, as in
 * wide-resnet.ts.
 */
import type { ModelConfig } from "../config/schema.js";
import type { LayerBuilder } from "./layer.js";
import { activation } from "./layers/activation.js";
import { convolution } from "./layers/convolution.js";
import { linear } from "./layers/linear.js";
import { residual } from "./layers/residual.js";
import { type NamedBuilder, sequence } from "./layers/sequence.js";
import { spatialMean } from "./layers/spatial-mean.js";
import { norm } from "./norm.js";

export type ResnetConfig = Extract<ModelConfig, { kind: "resnet-18" }>;

const HE = Math.SQRT2;
const BLOCKS_PER_STAGE = 2;
const STRIDES = [1, 2, 2, 2];

export function resnet18(config: ResnetConfig, numClasses: number): LayerBuilder {
  const plain = config.norm.kind === "none";
  const layers: NamedBuilder[] = [
    ["conv1", convolution({ channels: config.width, size: 3, stride: 1, bias: plain, gain: HE })],
    ...norm("norm1", config.norm),
    ["activation1", activation(config.activation)],
  ];
  let from = config.width;
  for (const [stage, baseStride] of STRIDES.entries()) {
    const to = config.width * 2 ** stage;
    for (let index = 0; index < BLOCKS_PER_STAGE; index++) {
      const stride = index === 0 ? baseStride : 1;
      layers.push([`stage${stage + 1}.${index}`, block(config, { from, to, stride })]);
      layers.push([`stage${stage + 1}.${index}.out`, activation(config.activation)]);
      from = to;
    }
  }
  return sequence([...layers, ["mean", spatialMean()], ["head", linear({ features: numClasses, gain: 1 })]]);
}

/** Up to the sum; the activation after it is a layer of its own. */
function block(config: ResnetConfig, { from, to, stride }: { from: number; to: number; stride: number }): LayerBuilder {
  const plain = config.norm.kind === "none";
  const gain = plain ? HE / Math.sqrt(STRIDES.length * BLOCKS_PER_STAGE) : HE;
  const changesShape = stride !== 1 || from !== to;
  return residual({
    entry: [],
    branch: [
      ["conv1", convolution({ channels: to, size: 3, stride, bias: plain, gain })],
      ...norm("norm1", config.norm),
      ["activation", activation(config.activation)],
      ["conv2", convolution({ channels: to, size: 3, stride: 1, bias: plain, gain: plain ? 0 : HE })],
      ...norm("norm2", config.norm),
    ],
    shortcut: changesShape
      ? sequence([["conv", convolution({ channels: to, size: 1, stride, bias: plain, gain: HE })], ...norm("norm", config.norm)])
      : null,
  });
}
