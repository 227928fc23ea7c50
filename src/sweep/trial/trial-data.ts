/**
 * What a trial trains and is judged on: the training split, its last samples kept back. No test image is read, so that what a
 * sweep chooses is chosen on validation data.
 */
import type { StorageConfig } from "../../config/schema.js";
import { type ClassGaussians, decodeClassGaussians } from "../../data/class-gaussians.js";
import { openDataset } from "../../data/dataset.js";
import { pixelsOf, type SampleShape } from "../../data/samples.js";
import { IsoergError } from "../../util/error.js";

export interface LabelledImages {
  /** uint8 of 255, [n*H*W*C] */
  readonly images: Uint8Array;
  readonly labels: Int32Array;
}

export interface TrialData {
  readonly shape: SampleShape;
  readonly numClasses: number;
  readonly training: LabelledImages;
  readonly validation: LabelledImages;
  readonly gaussians: ClassGaussians;
}

/** @throws IsoergError DATA for a data set that can't be used, CONFIG where too few samples are left to train on. */
export async function readTrialData(
  path: string,
  { numValidation, subset = null, storage }: { numValidation: number; subset?: number | null; storage?: StorageConfig },
): Promise<TrialData> {
  const dataset = await openDataset(path, "train", storage ? { storage } : {});
  try {
    const { manifest, shape, numClasses, numSamples } = dataset;
    const cut = Math.min(subset ?? Number.POSITIVE_INFINITY, numSamples - numValidation);
    if (cut < 1) {
      throw new IsoergError("CONFIG", `${numValidation} of ${path}'s ${numSamples} training samples are to be kept back: none are left`, {
        hint: "make `validation` smaller",
      });
    }
    const size = pixelsOf(shape);
    const read = async (from: number, to: number): Promise<LabelledImages> => {
      const { images, labels } = await dataset.read(Uint32Array.from({ length: to - from }, (_, i) => from + i));
      return { images: images.subarray(0, (to - from) * size), labels };
    };
    return {
      shape,
      numClasses,
      training: await read(0, cut),
      validation: await read(numSamples - numValidation, numSamples),
      gaussians: decodeClassGaussians(await dataset.readFile(manifest.classGaussians), {
        shape,
        numClasses,
        ...manifest.classGaussians,
      }),
    };
  } finally {
    await dataset.close();
  }
}

/** The samples of these ids, as a link hands them to the loop. */
export function samplesOf({ images, labels }: LabelledImages, ids: Uint32Array, size: number): { images: Uint8Array; labels: Int32Array } {
  const batch = new Uint8Array(ids.length * size);
  for (const [i, id] of ids.entries()) batch.set(images.subarray(id * size, (id + 1) * size), i * size);
  return { images: batch, labels: Int32Array.from(ids, (id) => labels[id] as number) };
}
