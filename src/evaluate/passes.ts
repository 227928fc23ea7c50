/**
 * Long passes over many samples, batch by batch: logits, attacks, chains. What is random is keyed by the sample's index, so no
 * result depends on the size of a batch. Between batches other work gets its turn and an abort is noticed.
 *
 * Nothing here is a figure yet; figures are pure functions of what these passes return (`figures/`).
 */
import { setImmediate as yieldToOthers } from "node:timers/promises";
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { pgd } from "../attack/pgd.js";
import type { AttackConfig } from "../config/schema.js";
import type { RowKey } from "../engine/random/philox.js";
import { PURPOSE } from "../engine/random/purpose.js";
import { energyHead, jointEnergyHead, targetsOf } from "../model/heads.js";
import type { Classifier } from "../model/model.js";
import { advanceChains, type ChainConfig } from "../sampler/sgld.js";
import { IsoergError } from "../util/error.js";
import type { Features } from "./quality/frechet.js";

/** Samples in [0,1] in host memory, [n,H,W,C] float32 or uint8 of 255. */
export interface Images {
  readonly shape: readonly [number, number, number];
  readonly numImages: number;
  readonly data: Float32Array | Uint8Array;
}

export interface PassOptions {
  readonly batchSize: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** logits [n*K] of all images. */
export async function logitsOf(model: Classifier, images: Images, numClasses: number, options: PassOptions): Promise<Float32Array> {
  const logits = new Float32Array(images.numImages * numClasses);
  await eachBatch(images.numImages, options, (from, to) => {
    const x = batchOf(images, from, to);
    logits.set(valuesOf(model.logits(x)), from * numClasses);
    x.dispose();
  });
  return logits;
}

/** |dE/dx|_2 of all images: how steep the energy is there, in energy for one unit of pixel distance. */
export async function gradientNorms(model: Classifier, images: Images, options: PassOptions): Promise<Float64Array> {
  const norms = new Float64Array(images.numImages);
  await eachBatch(images.numImages, options, (from, to) => {
    const x = batchOf(images, from, to);
    const { logits, gradient } = model.inputGradient(x, energyHead());
    norms.set(valuesOf(tf.tidy(() => tf.sqrt(tf.sum(tf.square(gradient), [1, 2, 3])))), from);
    tf.dispose([x, logits, gradient]);
  });
  return norms;
}

/** What the model's last linear layer sees, [n, N]; its logits where it has no such layer. */
export async function featuresOf(model: Classifier, images: Images, options: PassOptions): Promise<Features> {
  let values = new Float32Array(0);
  let numFeatures = 0;
  await eachBatch(images.numImages, options, (from, to) => {
    const x = batchOf(images, from, to);
    const batch = model.features?.(x) ?? model.logits(x);
    if (from === 0) {
      numFeatures = batch.shape[1];
      values = new Float32Array(images.numImages * numFeatures);
    }
    values.set(valuesOf(batch), from * numFeatures);
    x.dispose();
  });
  return { numSamples: images.numImages, numFeatures, values };
}

export interface Attacked {
  /** Of the adversarial samples, [n*K]. */
  readonly logits: Float32Array;
  /** In the attack's norm. */
  readonly largestDistance: number;
}

/** Attacks images in the order of their indices 0..n-1, which key the random starts. `pgd` asserts budget and range on each batch. */
export async function attackAll(
  model: Classifier,
  images: Images,
  input: { labels: Int32Array; numClasses: number; config: AttackConfig; seed: bigint },
  options: PassOptions,
): Promise<Attacked> {
  const { labels, numClasses, config, seed } = input;
  const logits = new Float32Array(images.numImages * numClasses);
  let largestDistance = 0;
  await eachBatch(images.numImages, options, (from, to) => {
    const x = batchOf(images, from, to);
    const key = { seed, purpose: PURPOSE.evaluateAttack, step: 0, positions: range(from, to) };
    const adversarial = pgd({ model, x, labels: labels.slice(from, to), numClasses, config, key });
    const reached = distance(x, adversarial, config.norm);
    if (Number.isNaN(reached)) {
      throw new IsoergError("DIVERGED", "the model's input gradients are not numbers", {
        hint: "The weights have diverged; evaluate an earlier checkpoint.",
      });
    }
    largestDistance = Math.max(largestDistance, reached);
    logits.set(valuesOf(model.logits(adversarial)), from * numClasses);
    tf.dispose([x, adversarial]);
  });
  return { logits, largestDistance };
}

export interface ChainsInput {
  readonly config: ChainConfig;
  readonly steps: number;
  /** Draws one start; the row's key is the chain's own. */
  readonly start: (image: Float32Array, key: RowKey) => void;
  readonly seed: bigint;
  /** PURPOSE.evaluateChain or PURPOSE.sampling: an evaluation and `generate` draw apart. */
  readonly purpose: number;
  /** The class of each chain, which then descends E(x,y); null for E(x). */
  readonly labels: Int32Array | null;
  readonly numClasses: number;
}

/** Fresh chains 0..n-1, from their start on: images [n*H*W*C] in [0,1]. */
export async function drawChains(
  model: Classifier,
  shape: readonly [number, number, number],
  numChains: number,
  input: ChainsInput,
  options: PassOptions,
): Promise<Images & { readonly data: Float32Array }> {
  const size = shape[0] * shape[1] * shape[2];
  const data = new Float32Array(numChains * size);
  const { seed, purpose, labels, numClasses } = input;
  await eachBatch(numChains, options, (from, to) => {
    for (let chain = from; chain < to; chain++) {
      input.start(data.subarray(chain * size, (chain + 1) * size), { seed, purpose, step: 0, position: chain });
    }
    const targets = labels ? targetsOf(labels.subarray(from, to), numClasses) : null;
    const chains = advanceChains(batchOf({ shape, numImages: numChains, data }, from, to), {
      model,
      config: input.config,
      steps: input.steps,
      // Step 0 keys the starts, step 1 the noise: no value is used for both.
      key: { seed, purpose, step: 1, positions: range(from, to) },
      ...(targets && { energy: jointEnergyHead(targets) }),
    });
    data.set(valuesOf(chains), from * size);
    targets?.dispose();
  });
  return { shape, numImages: numChains, data };
}

/** Calls `compute` for consecutive ranges of samples. */
export async function eachBatch(total: number, options: PassOptions, compute: (from: number, to: number) => void): Promise<void> {
  for (let from = 0; from < total; from += options.batchSize) {
    options.signal?.throwIfAborted();
    const to = Math.min(total, from + options.batchSize);
    compute(from, to);
    options.onProgress?.(to, total);
    await yieldToOthers();
  }
}

/** Samples from..to-1 as a tensor in [0,1]. The caller disposes it. */
export function batchOf({ shape, data }: Images, from: number, to: number): Tensor4D {
  const size = shape[0] * shape[1] * shape[2];
  const values = Float32Array.from(data.subarray(from * size, to * size)); // its own memory: some engines keep what they are given
  if (data instanceof Uint8Array) for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) / 255;
  return tf.tensor4d(values, [to - from, ...shape]);
}

/** Reads a tensor and frees it. */
function valuesOf(x: tf.Tensor): Float32Array {
  const values = x.dataSync<"float32">() as Float32Array;
  x.dispose();
  return values;
}

function distance(x: Tensor4D, adversarial: Tensor4D, norm: AttackConfig["norm"]): number {
  return tf.tidy(() => {
    const delta = tf.sub(adversarial, x);
    const distances = norm === "linf" ? tf.abs(delta) : tf.sqrt(tf.sum(tf.square(delta), [1, 2, 3]));
    return tf.max(distances).dataSync<"float32">()[0] as number;
  });
}

function range(from: number, to: number): Int32Array {
  return Int32Array.from({ length: to - from }, (_, i) => from + i);
}
