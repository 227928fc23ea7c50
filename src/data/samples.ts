/**
 * Samples as everything above the data layer sees them: uint8 images [n,H,W,C] with a class each, read by id.
 *
 * `SampleSource` is the seam: shards on disk stand behind it (`dataset.ts`), or arrays in memory (below: dry runs, tests).
 * One contract suite holds both. Pixels stay uint8 until `augment.ts` makes them float32 in [0,1].
 */
import { invariant } from "../util/error.js";

export interface SampleShape {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

export interface Samples {
  /** uint8 [n,H,W,C] */
  readonly images: Uint8Array;
  /** class indices [n] */
  readonly labels: Int32Array;
}

export interface SampleSource {
  readonly shape: SampleShape;
  readonly numSamples: number;
  readonly numClasses: number;
  /** Reads samples in the order of `ids`, into `into` (sized for them, shared memory allowed) or into new arrays. */
  read(ids: ArrayLike<number>, into?: Samples): Promise<Samples>;
}

/** Bytes of one sample's pixels. */
export function pixelsOf({ height, width, channels }: SampleShape): number {
  return height * width * channels;
}

/** Checks that `into` has room for exactly n samples, or makes that room. */
export function roomFor(n: number, shape: SampleShape, into?: Samples): Samples {
  if (into === undefined) return { images: new Uint8Array(n * pixelsOf(shape)), labels: new Int32Array(n) };
  invariant(into.images.length === n * pixelsOf(shape), `${into.images.length} bytes of room for ${n} samples of ${pixelsOf(shape)} bytes`);
  invariant(into.labels.length === n, `room for ${into.labels.length} labels of ${n} samples`);
  return into;
}

/** A data set in memory. The arrays are used as they are, not copied. */
export function createMemorySamples(options: { shape: SampleShape; numClasses: number; samples: Samples }): SampleSource {
  const { shape, numClasses, samples } = options;
  const size = pixelsOf(shape);
  const numSamples = samples.labels.length;
  invariant(samples.images.length === numSamples * size, `${samples.images.length} bytes of images for ${numSamples} samples`);
  return {
    shape,
    numSamples,
    numClasses,
    async read(ids, into) {
      const out = roomFor(ids.length, shape, into);
      for (let i = 0; i < ids.length; i++) {
        const id = ids[i] as number;
        invariant(id < numSamples, `sample ${id} of ${numSamples}`);
        out.images.set(samples.images.subarray(id * size, (id + 1) * size), i * size);
        out.labels[i] = samples.labels[id] as number;
      }
      return out;
    },
  };
}
