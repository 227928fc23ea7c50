/**
 * WideResNet-depth-width (Zagoruyko & Komodakis 2016): a 3x3 stem of 16 channels, three stages of (depth - 4)/6 pre-activation
 * blocks with 16k, 32k and 64k channels and strides 1, 2, 2, then norm, activation, global mean and a linear head.
 *
 * Without a norm the branches follow Fixup (Zhang, Dauphin & Ma 2019): with L blocks, the first convolution of a branch starts
 * at He's scale times L^(-1/2) and the last at zero, so each block starts as its shortcut and an update moves the logits by the
 * same order at any depth. The convolutions' biases stand for Fixup's scalar ones; its scalar multipliers are left out, and its
 * zero head as well: that has no input gradient, so the first attacks and chains would not move.
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

export type WideResnetConfig = Extract<ModelConfig, { kind: "wide-resnet" }>;

/** He et al. 2015: keeps the second moment through a convolution of rectified input. */
const HE = Math.SQRT2;

const STEM_CHANNELS = 16;

export function wideResnet(config: WideResnetConfig, numClasses: number): LayerBuilder {
  const blocksPerStage = (config.depth - 4) / 6;
  const layers: NamedBuilder[] = [
    ["stem", convolution({ channels: STEM_CHANNELS, size: 3, stride: 1, bias: config.norm.kind === "none", gain: 1 })],
  ];
  let from = STEM_CHANNELS;
  for (const [stage, baseStride] of [1, 2, 2].entries()) {
    const to = STEM_CHANNELS * 2 ** stage * config.width;
    for (let index = 0; index < blocksPerStage; index++) {
      const stride = index === 0 ? baseStride : 1;
      layers.push([`stage${stage + 1}.${index}`, block(config, { from, to, stride, numBlocks: 3 * blocksPerStage })]);
      from = to;
    }
  }
  layers.push(...norm("norm", config.norm), ["activation", activation(config.activation)]);
  return sequence([...layers, ["mean", spatialMean()], ["head", linear({ features: numClasses, gain: 1 })]]);
}

interface BlockOptions {
  readonly from: number;
  readonly to: number;
  readonly stride: number;
  /** In the whole network. */
  readonly numBlocks: number;
}

function block(config: WideResnetConfig, { from, to, stride, numBlocks }: BlockOptions): LayerBuilder {
  const plain = config.norm.kind === "none";
  const gains = plain ? [HE / Math.sqrt(numBlocks), 0] : [HE, HE];
  const [first, last] = gains as [number, number];
  const changesShape = stride !== 1 || from !== to;
  return residual({
    entry: [...norm("norm1", config.norm), ["activation1", activation(config.activation)]],
    branch: [
      ["conv1", convolution({ channels: to, size: 3, stride, bias: plain, gain: first })],
      ...norm("norm2", config.norm),
      ["activation2", activation(config.activation)],
      ["conv2", convolution({ channels: to, size: 3, stride: 1, bias: plain, gain: last })],
    ],
    shortcut: changesShape ? convolution({ channels: to, size: 1, stride, bias: false, gain: HE }) : null,
  });
}
