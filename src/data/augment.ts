/**
 * uint8 samples to float32 pixels in [0,1], as they are or augmented: shifted by a few pixels, mirrored left-right, changed by one
 * random operation (`trivial-augment.ts`), a square of them hidden (`cutout.ts`),
 * noise added (`input-noise.ts`), in this order.
 *
 * What is done to a sample is a function of (seed, step, position) alone, so any cut of the global batch over workers gives
 * the same pixels. The values stay exactly v/255 but for what is hidden and for noise: nothing is interpolated.
 */
import { draws } from "../engine/random/philox.js";
import { PURPOSE } from "../engine/random/purpose.js";
import { IsoergError, invariant } from "../util/error.js";
import { cutOut } from "./cutout.js";
import { addNoise } from "./input-noise.js";
import { pixelsOf, type SampleShape } from "./samples.js";
import { applyOperation, drawOperation, STRONGEST } from "./trivial-augment.js";

export interface AugmentOptions {
  /** Mirror left-right with probability 1/2. */
  readonly flip: boolean;
  /** Largest shift in pixels, both ways and along both axes; every shift is as likely. */
  readonly shift: number;
  /** What a shift brings in: the image's own pixels mirrored at its outermost line (which is not repeated), or zeros. */
  readonly border: "reflect" | "zero";
  /** One random operation for each image, or none. */
  readonly policy?: "none" | "trivial-augment";
  /** Bounds that operation's strength, 0..30. */
  readonly magnitude?: number;
  /** Side of the square that is hidden, in pixels; 0 for none. */
  readonly cutout?: number;
  /** Standard deviation of Gaussian noise, in pixels; 0 for none. */
  readonly noise?: number;
}

/** Where a slice stands: its first row is the sample at global position `from` of this step. */
export interface AugmentKey {
  readonly seed: bigint;
  readonly step: number;
  readonly from: number;
}

const PIXEL_VALUES = Float32Array.from({ length: 256 }, (_, v) => v / 255);

/** uint8 -> v/255, elementwise, into `out` or a new array. */
export function toPixels(images: Uint8Array, out: Float32Array = new Float32Array(images.length)): Float32Array {
  invariant(out.length === images.length, `${out.length} pixels of room for ${images.length}`);
  for (let i = 0; i < images.length; i++) out[i] = PIXEL_VALUES[images[i] as number] as number;
  return out;
}

/** @throws IsoergError CONFIG when a reflected shift is as large as the image. */
export function checkAugmentation({ shift, border }: AugmentOptions, { height, width }: SampleShape): void {
  if (border !== "reflect" || shift < Math.min(height, width)) return;
  throw new IsoergError("CONFIG", `data.augment.shift is ${shift}, but images of ${height}x${width} can't be reflected that far`, {
    hint: `take at most ${Math.min(height, width) - 1}, or border: zero`,
  });
}

/**
 * Augments a slice [n,H,W,C] of a step's global batch into `out` or a new array.
 * @throws IsoergError CONFIG when a reflected shift is as large as the image.
 */
export function augment(
  images: Uint8Array,
  shape: SampleShape,
  options: AugmentOptions,
  key: AugmentKey,
  out: Float32Array = new Float32Array(images.length),
): Float32Array {
  const { policy = "none", magnitude = STRONGEST, cutout = 0, noise = 0 } = options;
  const size = pixelsOf(shape);
  const at = (n: number) => ({ seed: key.seed, step: key.step, position: key.from + n });
  if (policy === "none") {
    moveInto(images, shape, options, key, { out, convert: (v) => PIXEL_VALUES[v] as number });
  } else {
    const moved = new Uint8Array(images.length);
    moveInto(images, shape, options, key, { out: moved, convert: (v) => v });
    for (let n = 0; n * size < moved.length; n++) {
      const image = moved.subarray(n * size, (n + 1) * size);
      image.set(applyOperation(image, shape, drawOperation(at(n), magnitude)));
    }
    toPixels(moved, out);
  }
  if (cutout > 0) for (let n = 0; n * size < out.length; n++) cutOut(out.subarray(n * size, (n + 1) * size), shape, cutout, at(n));
  if (noise > 0) for (let n = 0; n * size < out.length; n++) addNoise(out.subarray(n * size, (n + 1) * size), noise, at(n));
  return out;
}

/** Where moved pixels go, and as what. */
interface Destination {
  readonly out: Float32Array | Uint8Array;
  readonly convert: (value: number) => number;
}

/** Shifts and mirrors. */
function moveInto(images: Uint8Array, shape: SampleShape, options: AugmentOptions, key: AugmentKey, { out, convert }: Destination): void {
  const { flip, shift, border } = options;
  const { height, width, channels } = shape;
  if (!flip && shift === 0) {
    invariant(out.length === images.length, `${out.length} pixels of room for ${images.length}`);
    for (let i = 0; i < images.length; i++) out[i] = convert(images[i] as number);
    return;
  }
  checkAugmentation(options, shape);
  const size = pixelsOf(shape);
  const numSamples = images.length / size;
  invariant(Number.isInteger(numSamples) && out.length === images.length, `${images.length} bytes of samples into ${out.length} pixels`);
  /** Offset within a row of the source pixel of each output column; -1 for a zero. */
  const columnFrom = new Int32Array(width);
  for (let n = 0; n < numSamples; n++) {
    const { mirrored, down, right } = drawn(options, key, n);
    for (let x = 0; x < width; x++) {
      const source = borderIndex(mirrored ? width - 1 - x + right : x - right, width, border);
      columnFrom[x] = source < 0 ? -1 : source * channels;
    }
    let to = n * size;
    for (let y = 0; y < height; y++) {
      const sourceRow = borderIndex(y - down, height, border);
      if (sourceRow < 0) {
        out.fill(0, to, to + width * channels);
        to += width * channels;
        continue;
      }
      const row = n * size + sourceRow * width * channels;
      for (let x = 0; x < width; x++) {
        const column = columnFrom[x] as number;
        for (let c = 0; c < channels; c++, to++) out[to] = column < 0 ? 0 : convert(images[row + column + c] as number);
      }
    }
  }
}

/** What is done to the n-th sample of a slice: first shifted, then mirrored. */
function drawn(
  { flip, shift }: AugmentOptions,
  { seed, step, from }: AugmentKey,
  n: number,
): { mirrored: boolean; down: number; right: number } {
  const random = draws({ seed, purpose: PURPOSE.augment, step, position: from + n });
  // Always drawn in this order, so that turning one off does not move the others.
  const coin = random.uint32() >>> 31;
  const down = random.below(2 * shift + 1) - shift;
  const right = random.below(2 * shift + 1) - shift;
  return { mirrored: flip && coin === 1, down, right };
}

/** The index that stands in for i in 0..length-1; -1 where a zero does. */
function borderIndex(i: number, length: number, border: "reflect" | "zero"): number {
  if (i >= 0 && i < length) return i;
  if (border === "zero") return -1;
  return i < 0 ? -i : 2 * (length - 1) - i;
}
