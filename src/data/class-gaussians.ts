/**
 * One Gaussian for each class, and one for all: what the sampler's informative start is drawn from (JEM++, Yang & Ji 2021).
 *
 * JEM++ keeps a full covariance for each class; for 32x32x3 that is 10 x 3072^2 numbers. Here the covariance is taken in the
 * orthonormal DCT domain, which nearly decorrelates natural images: the lowest frequencies (up to 8x8, all channels) keep
 * their full joint covariance, every other frequency keeps the covariance of its channels and is independent of the rest.
 * Each pixel's mean and the mean square of each frequency are those of the data. Some 100 KB a class instead of 38 MB.
 *
 * All sums are in float64; what is stored are float32 means and Cholesky factors. The file's layout is in README.md.
 */
import { IsoergError, invariant } from "../util/error.js";
import { createDct2d } from "./dct.js";
import { pixelsOf, type SampleShape, type Samples } from "./samples.js";

const LARGEST_LOW = 8;
/** Added to each variance: 1e-4 on pixels in [-1,1], as JEM++ does, on pixels in [0,1]. */
const RIDGE = 1e-4 / 4;

export interface LowBlock {
  readonly lowHeight: number;
  readonly lowWidth: number;
}

/** One Gaussian in the DCT domain; all float32, planes [C,H,W]. */
export interface GaussianComponent {
  readonly mean: Float32Array;
  /** Packed lower triangle of the low frequencies' Cholesky factor; rows ordered (channel, u, v). */
  readonly low: Float32Array;
  /** For each other frequency in row-major order, the packed lower triangle of its channels' Cholesky factor. */
  readonly high: Float32Array;
}

export interface ClassGaussians extends LowBlock {
  readonly shape: SampleShape;
  readonly classes: readonly GaussianComponent[];
  /** Over the samples of all classes. */
  readonly all: GaussianComponent;
}

const triangle = (n: number): number => (n * (n + 1)) / 2;

function lowBlockOf({ height, width }: SampleShape): LowBlock {
  return { lowHeight: Math.min(LARGEST_LOW, height), lowWidth: Math.min(LARGEST_LOW, width) };
}

function sizesOf(
  shape: SampleShape,
  { lowHeight, lowWidth }: LowBlock,
): { mean: number; numLow: number; low: number; numHigh: number; high: number } {
  const numLow = lowHeight * lowWidth * shape.channels;
  const numHigh = shape.height * shape.width - lowHeight * lowWidth;
  return { mean: pixelsOf(shape), numLow, low: triangle(numLow), numHigh, high: numHigh * triangle(shape.channels) };
}

/** Sums over the samples of one class, about the middle of the pixel range. */
interface Sums {
  count: number;
  readonly first: Float64Array;
  readonly low: Float64Array;
  readonly high: Float64Array;
}

export interface ClassGaussianSums {
  /** Takes samples in; about 0.1 ms each for 32x32x3. */
  add(samples: Samples): void;
  /** The file's content. */
  encode(): { bytes: Uint8Array; lowHeight: number; lowWidth: number };
}

export function createClassGaussianSums(shape: SampleShape, numClasses: number): ClassGaussianSums {
  const { height, width, channels } = shape;
  const block = lowBlockOf(shape);
  const sizes = sizesOf(shape, block);
  const plane = height * width;
  const dct = createDct2d(height, width);
  const lowAt = lowIndices(shape, block);
  const highAt = highIndices(shape, block);
  const newSums = (): Sums => ({
    count: 0,
    first: new Float64Array(sizes.mean),
    low: new Float64Array(sizes.low),
    high: new Float64Array(sizes.high),
  });
  const sums = Array.from({ length: numClasses }, newSums);
  const x = new Float64Array(sizes.mean);
  const lowValues = new Float64Array(sizes.numLow);

  const addOne = (images: Uint8Array, at: number, to: Sums): void => {
    for (let p = 0; p < plane; p++) {
      for (let c = 0; c < channels; c++) x[c * plane + p] = (images[at + p * channels + c] as number) / 255 - 0.5;
    }
    for (let c = 0; c < channels; c++) dct.forward(x, x, c * plane);
    to.count++;
    for (let i = 0; i < x.length; i++) to.first[i] = (to.first[i] as number) + (x[i] as number);
    for (let i = 0; i < lowValues.length; i++) lowValues[i] = x[lowAt[i] as number] as number;
    addOuter(lowValues, to.low);
    let k = 0;
    for (const f of highAt) {
      for (let a = 0; a < channels; a++) {
        const xa = x[a * plane + f] as number;
        for (let b = 0; b <= a; b++, k++) to.high[k] = (to.high[k] as number) + xa * (x[b * plane + f] as number);
      }
    }
  };

  return {
    add({ images, labels }) {
      for (let i = 0; i < labels.length; i++) {
        const of = sums[labels[i] as number];
        invariant(of, `class ${labels[i]} of ${numClasses}`);
        addOne(images, i * sizes.mean, of);
      }
    },
    encode() {
      const all = newSums();
      for (const of of sums) {
        all.count += of.count;
        for (const key of ["first", "low", "high"] as const) {
          for (let i = 0; i < all[key].length; i++) all[key][i] = (all[key][i] as number) + (of[key][i] as number);
        }
      }
      const size = sizes.mean + sizes.low + sizes.high;
      const out = new Float32Array((numClasses + 1) * size);
      for (const [i, of] of [...sums, all].entries()) encodeOne(of, shape, lowAt, highAt, out.subarray(i * size, (i + 1) * size));
      return { bytes: new Uint8Array(out.buffer), ...block };
    },
  };
}

/** @throws IsoergError DATA when the bytes are not of these sizes. */
export function decodeClassGaussians(bytes: Uint8Array, meta: { shape: SampleShape; numClasses: number } & LowBlock): ClassGaussians {
  const { shape, numClasses, lowHeight, lowWidth } = meta;
  const sizes = sizesOf(shape, meta);
  const size = sizes.mean + sizes.low + sizes.high;
  const expected = (numClasses + 1) * size * 4;
  if (lowHeight > shape.height || lowWidth > shape.width || bytes.length !== expected) {
    throw new IsoergError("DATA", `class Gaussians of ${bytes.length} bytes where ${expected} are due for ${numClasses} classes`, {
      hint: "run `isoerg data prepare` again with the same --out",
    });
  }
  // A copy: the bytes may lie at any offset, floats may not. (Not `slice`: a Buffer's is a view.)
  const floats = new Float32Array(new Uint8Array(bytes).buffer);
  const component = (i: number): GaussianComponent => ({
    mean: floats.subarray(i * size, i * size + sizes.mean),
    low: floats.subarray(i * size + sizes.mean, i * size + sizes.mean + sizes.low),
    high: floats.subarray(i * size + sizes.mean + sizes.low, (i + 1) * size),
  });
  return { shape, lowHeight, lowWidth, classes: Array.from({ length: numClasses }, (_, i) => component(i)), all: component(numClasses) };
}

/**
 * Turns standard normal values into a draw: x = clamp(IDCT(mean + L z)), in pixels.
 * Reads and overwrites nothing but `out` [H,W,C], which holds the normal values when called.
 */
export function createClassGaussianTransform(stats: ClassGaussians): (component: GaussianComponent, out: Float32Array) => void {
  const { height, width, channels } = stats.shape;
  const plane = height * width;
  const dct = createDct2d(height, width);
  const lowAt = lowIndices(stats.shape, stats);
  const highAt = highIndices(stats.shape, stats);
  const x = new Float64Array(plane * channels);
  return (component, out) => {
    invariant(out.length === x.length, `${out.length} values for a sample of ${x.length}`);
    const { mean, low, high } = component;
    let k = 0;
    for (let i = 0; i < lowAt.length; i++) {
      let sum = mean[lowAt[i] as number] as number;
      for (let j = 0; j <= i; j++) sum += (low[k++] as number) * (out[j] as number);
      x[lowAt[i] as number] = sum;
    }
    k = 0;
    for (let f = 0, z = lowAt.length; f < highAt.length; f++, z += channels) {
      for (let a = 0; a < channels; a++) {
        const at = a * plane + (highAt[f] as number);
        let sum = mean[at] as number;
        for (let b = 0; b <= a; b++) sum += (high[k++] as number) * (out[z + b] as number);
        x[at] = sum;
      }
    }
    for (let c = 0; c < channels; c++) {
      dct.inverse(x, x, c * plane);
      for (let p = 0; p < plane; p++) out[p * channels + c] = Math.min(1, Math.max(0, x[c * plane + p] as number));
    }
  };
}

/** Where the low frequencies lie in planes [C,H,W], ordered (channel, u, v). */
function lowIndices({ height, width, channels }: SampleShape, { lowHeight, lowWidth }: LowBlock): Int32Array {
  const out: number[] = [];
  for (let c = 0; c < channels; c++) {
    for (let u = 0; u < lowHeight; u++) for (let v = 0; v < lowWidth; v++) out.push((c * height + u) * width + v);
  }
  return Int32Array.from(out);
}

/** Where the other frequencies lie in one plane [H,W], row-major. */
function highIndices({ height, width }: SampleShape, { lowHeight, lowWidth }: LowBlock): Int32Array {
  const out: number[] = [];
  for (let u = 0; u < height; u++) for (let v = 0; v < width; v++) if (u >= lowHeight || v >= lowWidth) out.push(u * width + v);
  return Int32Array.from(out);
}

/** Adds v v^T to a packed lower triangle. */
function addOuter(v: Float64Array, sum: Float64Array): void {
  for (let i = 0, k = 0; i < v.length; i++) {
    const vi = v[i] as number;
    for (let j = 0; j <= i; j++, k++) sum[k] = (sum[k] as number) + vi * (v[j] as number);
  }
}

function encodeOne(sums: Sums, shape: SampleShape, lowAt: Int32Array, highAt: Int32Array, out: Float32Array): void {
  const { height, width, channels } = shape;
  const plane = height * width;
  const n = Math.max(1, sums.count);
  const mean = sums.first.map((value) => value / n);
  const low = new Float64Array(sums.low.length);
  for (let i = 0, k = 0; i < lowAt.length; i++) {
    const mi = mean[lowAt[i] as number] as number;
    for (let j = 0; j <= i; j++, k++)
      low[k] = (sums.low[k] as number) / n - mi * (mean[lowAt[j] as number] as number) + (i === j ? RIDGE : 0);
  }
  cholesky(low, 0, lowAt.length);
  const high = new Float64Array(sums.high.length);
  let k = 0;
  for (const f of highAt) {
    const from = k;
    for (let a = 0; a < channels; a++) {
      const ma = mean[a * plane + f] as number;
      for (let b = 0; b <= a; b++, k++)
        high[k] = (sums.high[k] as number) / n - ma * (mean[b * plane + f] as number) + (a === b ? RIDGE : 0);
    }
    cholesky(high, from, channels);
  }
  // The middle of the pixel range was taken off before the transform; it lies in the constant term of each channel.
  for (let c = 0; c < channels; c++) mean[c * plane] = (mean[c * plane] as number) + 0.5 * Math.sqrt(plane);
  out.set(mean, 0);
  out.set(low, mean.length);
  out.set(high, mean.length + low.length);
}

/** Cholesky's factor of a packed lower triangle [n(n+1)/2] at `from`, in place. */
function cholesky(a: Float64Array, from: number, n: number): void {
  for (let i = 0; i < n; i++) {
    const row = from + triangle(i);
    for (let j = 0; j <= i; j++) {
      const other = from + triangle(j);
      let sum = a[row + j] as number;
      for (let k = 0; k < j; k++) sum -= (a[row + k] as number) * (a[other + k] as number);
      if (i === j) {
        invariant(sum > 0, "a covariance is not positive definite");
        a[row + j] = Math.sqrt(sum);
      } else a[row + j] = sum / (a[other + j] as number);
    }
  }
}
