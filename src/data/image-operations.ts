/**
 * Operations on one uint8 image [H,W,C], as automatic augmentation composes them, with the rounding of Pillow's ImageOps,
 * ImageEnhance and nearest-neighbour transforms, in which their published strengths were found.
 *
 * Every operation writes a new image of the same shape; what a transform brings in from outside is zero.
 */
import { pixelsOf, type SampleShape } from "./samples.js";

/** [a, b, c, d, e, f]: an output pixel at (x, y) comes from (a x + b y + c, d x + e y + f), both measured at pixel centres. */
export type Affine = readonly [number, number, number, number, number, number];

export function affine(image: Uint8Array, shape: SampleShape, [a, b, c, d, e, f]: Affine): Uint8Array {
  const { height, width, channels } = shape;
  const out = new Uint8Array(image.length);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += channels) {
      const fromX = Math.floor(a * (x + 0.5) + b * (y + 0.5) + c);
      const fromY = Math.floor(d * (x + 0.5) + e * (y + 0.5) + f);
      if (fromX < 0 || fromX >= width || fromY < 0 || fromY >= height) continue;
      const from = (fromY * width + fromX) * channels;
      for (let k = 0; k < channels; k++) out[to + k] = image[from + k] as number;
    }
  }
  return out;
}

/** Counter-clockwise about the centre. */
export function rotate(image: Uint8Array, shape: SampleShape, degrees: number): Uint8Array {
  const angle = (-degrees * Math.PI) / 180;
  // Rounded as Pillow does, so that quarter turns are exact.
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)].map((v) => Number(v.toFixed(15))) as [number, number];
  const [cx, cy] = [shape.width / 2, shape.height / 2];
  return affine(image, shape, [cos, sin, cx - cos * cx - sin * cy, -sin, cos, cy + sin * cx - cos * cy]);
}

/** Mixes towards (factor < 1) or away from (factor > 1) a degenerate image: d + factor (v - d), cut off to whole numbers in 0..255. */
function blend(degenerate: (i: number) => number, image: Uint8Array, factor: number): Uint8Array {
  return image.map((v, i) => {
    const from = degenerate(i);
    return Math.max(0, Math.min(255, Math.trunc(from + factor * (v - from))));
  });
}

/** The degenerate image is black. */
export function brightness(image: Uint8Array, _shape: SampleShape, factor: number): Uint8Array {
  return blend(() => 0, image, factor);
}

/** The degenerate image is the one grey that is the mean of the image's greys. */
export function contrast(image: Uint8Array, shape: SampleShape, factor: number): Uint8Array {
  const greys = greysOf(image, shape);
  const mean = Math.floor(greys.reduce((sum, v) => sum + v, 0) / greys.length + 0.5);
  return blend(() => mean, image, factor);
}

/** The degenerate image is grey. Leaves an image of one channel as it is. */
export function color(image: Uint8Array, shape: SampleShape, factor: number): Uint8Array {
  if (shape.channels === 1) return image.slice();
  const greys = greysOf(image, shape);
  return blend((i) => greys[Math.floor(i / shape.channels)] as number, image, factor);
}

/** The degenerate image is smoothed by (1 1 1; 1 5 1; 1 1 1) / 13; the outermost pixels stay. */
export function sharpness(image: Uint8Array, shape: SampleShape, factor: number): Uint8Array {
  const { height, width, channels } = shape;
  const smooth = image.slice();
  const row = width * channels;
  for (let y = 1; y < height - 1; y++) {
    for (let i = y * row + channels; i < (y + 1) * row - channels; i++) {
      let sum = 4 * (image[i] as number);
      for (const dy of [-row, 0, row]) for (const dx of [-channels, 0, channels]) sum += image[i + dy + dx] as number;
      smooth[i] = Math.floor(sum / 13 + 0.5);
    }
  }
  return blend((i) => smooth[i] as number, image, factor);
}

/** ITU-R 601 luma of three channels in Pillow's fixed-point form; of any other number their rounded mean. */
function greysOf(image: Uint8Array, { channels }: SampleShape): Uint8Array {
  const greys = new Uint8Array(image.length / channels);
  for (let i = 0; i < greys.length; i++) {
    const at = i * channels;
    if (channels === 3) {
      const [r, g, b] = [image[at], image[at + 1], image[at + 2]] as [number, number, number];
      greys[i] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >>> 16;
    } else {
      let sum = 0;
      for (let k = 0; k < channels; k++) sum += image[at + k] as number;
      greys[i] = Math.floor(sum / channels + 0.5);
    }
  }
  return greys;
}

/** Keeps the highest bits of each value. */
export function posterize(image: Uint8Array, _shape: SampleShape, bits: number): Uint8Array {
  const mask = 0xff & ~(2 ** (8 - bits) - 1);
  return image.map((v) => v & mask);
}

/** Inverts values from the threshold on. */
export function solarize(image: Uint8Array, _shape: SampleShape, threshold: number): Uint8Array {
  return image.map((v) => (v < threshold ? v : 255 - v));
}

/** Stretches each channel to 0..255. */
export function autoContrast(image: Uint8Array, shape: SampleShape): Uint8Array {
  return byChannel(image, shape, (histogram) => {
    const low = histogram.findIndex((count) => count > 0);
    const high = histogram.findLastIndex((count) => count > 0);
    if (high <= low) return null;
    const scale = 255 / (high - low);
    return (v) => Math.max(0, Math.min(255, Math.trunc(v * scale - low * scale)));
  });
}

/** Makes each channel's histogram flat, as far as a table of values can. */
export function equalize(image: Uint8Array, shape: SampleShape): Uint8Array {
  return byChannel(image, shape, (histogram) => {
    const used = histogram.filter((count) => count > 0);
    const step = Math.floor((used.reduce((sum, count) => sum + count, 0) - (used.at(-1) ?? 0)) / 255);
    if (used.length <= 1 || step === 0) return null;
    let below = Math.floor(step / 2);
    const table = Array.from(histogram, (count) => {
      const value = Math.min(255, Math.floor(below / step));
      below += count;
      return value;
    });
    return (v) => table[v] as number;
  });
}

/** Maps the values of each channel by what its histogram says; null leaves a channel as it is. */
function byChannel(
  image: Uint8Array,
  shape: SampleShape,
  mapOf: (histogram: Uint32Array) => ((value: number) => number) | null,
): Uint8Array {
  const { channels } = shape;
  const out = image.slice();
  for (let channel = 0; channel < channels; channel++) {
    const histogram = new Uint32Array(256);
    for (let i = channel; i < pixelsOf(shape); i += channels) (histogram[image[i] as number] as number)++;
    const map = mapOf(histogram);
    if (map) for (let i = channel; i < pixelsOf(shape); i += channels) out[i] = map(image[i] as number);
  }
  return out;
}
