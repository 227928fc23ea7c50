/**
 * All figures of generated images: Fréchet distance and classifier score in a declared feature space, precision and recall, nearest
 * training images. Nothing is filtered: the images are judged as they were drawn.
 *
 * The names FID and IS belong to Inception's features. With any other extractor the figures are named after it, since they can't be
 * compared with published ones. Every Fréchet distance of few samples is biased upwards; the same distance between two halves of the
 * reference is given beside it.
 */
import type { SampleSource } from "../../data/samples.js";
import type { Classifier } from "../../model/model.js";
import type { Quality } from "../analysis/analysis.js";
import { featuresOf, type Images, logitsOf, type PassOptions } from "../passes.js";
import { type Features, frechetDistance, frechetOfMoments, momentsOf } from "./frechet.js";
import { classifierScore } from "./inception-score.js";
import { nearestFigures, nearestSearch } from "./nearest.js";
import { precisionRecall } from "./precision-recall.js";

export interface FeatureExtractor {
  readonly name: string;
  readonly classifier: Classifier;
  readonly numClasses: number;
  readonly inception: boolean;
  readonly self: boolean;
  readonly fingerprint: string;
}

export interface QualityInput {
  readonly images: Quality["images"];
  readonly chainSteps: number | null;
  readonly generated: Images;
  /** Real images that training has not seen. */
  readonly reference: Images;
  readonly referenceName: string;
  readonly train: SampleSource;
  readonly extractor: FeatureExtractor;
}

/** Generated and test images that are looked up among the training images. */
const NUM_QUERIES = 200;
const TRAIN_BLOCK = 1000;
/** As many splits as the published score has, where there are samples for them. */
const MIN_SPLIT = 10;

export async function measureQuality(input: QualityInput, options: (what: string) => PassOptions): Promise<Quality> {
  const { extractor, generated, reference } = input;
  const { classifier, numClasses, name } = extractor;
  const generatedFeatures = await featuresOf(classifier, generated, options("features of generated images"));
  const referenceFeatures = await featuresOf(classifier, reference, options("features of the reference"));
  const score = (logits: Float32Array) =>
    classifierScore(logits, numClasses, { splits: Math.max(1, Math.min(10, Math.floor(logits.length / numClasses / MIN_SPLIT))) });
  const ofGenerated = score(await logitsOf(classifier, generated, numClasses, options("score of generated images")));
  const ofReference = score(await logitsOf(classifier, reference, numClasses, options("score of the reference")));
  const halves = [0, 1].map((half) => everySecond(referenceFeatures, half)) as [Features, Features];
  return {
    images: input.images,
    numGenerated: generated.numImages,
    chainSteps: input.chainSteps,
    numReference: reference.numImages,
    reference: input.referenceName,
    extractor: {
      name,
      inception: extractor.inception,
      self: extractor.self,
      numFeatures: generatedFeatures.numFeatures,
      fingerprint: extractor.fingerprint,
    },
    frechet: {
      name: extractor.inception ? "FID" : `Fréchet distance in the features of ${name}`,
      value: frechetOfMoments(momentsOf(generatedFeatures), momentsOf(referenceFeatures)),
      floor: frechetDistance(...halves),
      numFloor: halves[0].numSamples,
    },
    score: {
      name: extractor.inception ? "IS" : `classifier score by ${name}`,
      mean: ofGenerated.mean,
      std: ofGenerated.std,
      numSplits: ofGenerated.numSplits,
      numSamples: ofGenerated.numSamples,
      ofReference: ofReference.mean,
    },
    precisionRecall: precisionRecall(referenceFeatures, generatedFeatures),
    nearest: await nearestTraining(input, generatedFeatures, referenceFeatures, options("nearest training images")),
  };
}

async function nearestTraining(
  input: QualityInput,
  generated: Features,
  test: Features,
  options: PassOptions,
): Promise<Quality["nearest"]> {
  const queries = {
    pixels: join(first(pixelsOf(input.generated)), first(pixelsOf(input.reference))),
    features: join(first(generated), first(test)),
  };
  const searches = { pixels: nearestSearch(queries.pixels), features: nearestSearch(queries.features) };
  const { train, generated: images } = input;
  for (let from = 0; from < train.numSamples; from += TRAIN_BLOCK) {
    const to = Math.min(train.numSamples, from + TRAIN_BLOCK);
    const { images: data } = await train.read(Uint32Array.from({ length: to - from }, (_, i) => from + i));
    const block: Images = { shape: images.shape, numImages: to - from, data };
    searches.pixels.add(pixelsOf(block));
    const { onProgress: _, ...quiet } = options;
    searches.features.add(await featuresOf(input.extractor.classifier, block, quiet));
    options.onProgress?.(to, train.numSamples);
  }
  const numGenerated = Math.min(NUM_QUERIES, generated.numSamples);
  return (["pixels", "features"] as const).map((space) => {
    const { distance } = searches[space].result;
    return {
      space,
      numTrain: searches[space].numCandidates,
      ...nearestFigures(distance.subarray(0, numGenerated), distance.subarray(numGenerated)),
    };
  });
}

function pixelsOf({ shape, numImages, data }: Images): Features {
  const unit = data instanceof Uint8Array ? 1 / 255 : 1;
  return { numSamples: numImages, numFeatures: shape[0] * shape[1] * shape[2], values: Float32Array.from(data, (value) => value * unit) };
}

function first({ numSamples, numFeatures, values }: Features): Features {
  const count = Math.min(NUM_QUERIES, numSamples);
  return { numSamples: count, numFeatures, values: values.subarray(0, count * numFeatures) };
}

function join(a: Features, b: Features): Features {
  const values = new Float32Array(a.values.length + b.values.length);
  values.set(a.values);
  values.set(b.values, a.values.length);
  return { numSamples: a.numSamples + b.numSamples, numFeatures: a.numFeatures, values };
}

function everySecond({ numSamples, numFeatures, values }: Features, half: number): Features {
  const count = Math.floor(numSamples / 2);
  const out = new Float32Array(count * numFeatures);
  for (let i = 0; i < count; i++) {
    const from = (2 * i + half) * numFeatures;
    out.set(values.subarray(from, from + numFeatures), i * numFeatures);
  }
  return { numSamples: count, numFeatures, values: out };
}
