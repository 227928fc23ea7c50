/**
 * The feature space in which samples are judged: what the last linear layer of a classifier sees that was trained here, in the
 * ordinary way, once for each data set. Distances in it are comparable within this bench only, and are not FID.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import type { Config } from "../../src/config/schema.js";
import type { Images } from "../../src/evaluate/passes.js";
import { type Features, type Moments, momentsOf } from "../../src/evaluate/quality/frechet.js";
import { createModel } from "../../src/model/create.js";
import { writeWhole } from "./results.js";

/** Weights [numParameters] float32, little-endian. */
const weightsFile = (folder: string, dataset: string): string => join(folder, "reference", `${dataset}.f32`);

export function hasReference(folder: string, dataset: string): boolean {
  return existsSync(weightsFile(folder, dataset));
}

export async function writeReference(folder: string, dataset: string, flat: Float32Array): Promise<void> {
  await writeWhole(weightsFile(folder, dataset), new Uint8Array(flat.buffer, flat.byteOffset, flat.byteLength));
}

const BATCH_SIZE = 250;

export interface Judge {
  featuresOf(images: Images): Promise<Features>;
  dispose(): void;
}

/** `config` is the reference's own. */
export async function openReference(
  folder: string,
  dataset: string,
  config: Config,
  data: { shape: readonly [number, number, number]; numClasses: number },
): Promise<Judge> {
  const bytes = await readFile(weightsFile(folder, dataset));
  const flat = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  const parameters = tf.tensor1d(flat);
  const bound = createModel(config.model, data.shape, data.numClasses).bind(parameters, "fp32");
  return {
    async featuresOf(images) {
      const size = images.shape[0] * images.shape[1] * images.shape[2];
      const unit = images.data instanceof Uint8Array ? 1 / 255 : 1;
      const rows: Float32Array[] = [];
      for (let from = 0; from < images.numImages; from += BATCH_SIZE) {
        const to = Math.min(images.numImages, from + BATCH_SIZE);
        const pixels = Float32Array.from(images.data.subarray(from * size, to * size), (value) => value * unit);
        const x = tf.tensor4d(pixels, [to - from, ...images.shape]);
        const features = bound.features?.(x);
        if (!features) throw new Error("bug in the bench: the reference network has no features");
        rows.push(features.dataSync<"float32">().slice());
        tf.dispose([x, features]);
      }
      const values = new Float32Array(rows.reduce((sum, row) => sum + row.length, 0));
      let at = 0;
      for (const row of rows) {
        values.set(row, at);
        at += row.length;
      }
      return { numSamples: images.numImages, numFeatures: values.length / images.numImages, values };
    },
    dispose() {
      bound.dispose();
      parameters.dispose();
    },
  };
}

/** Mean and covariance of images in the features of a judge. */
export async function momentsIn(judge: Judge, images: Images): Promise<Moments> {
  return momentsOf(await judge.featuresOf(images));
}
