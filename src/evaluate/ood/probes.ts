/**
 * Images that no classifier of the data should be sure about, made on the host: noise, and averages of two real images (as in
 * Grathwohl et al. 2020). Samples of another data set are brought to the same shape here as well. Each is a function of (seed, index).
 */
import type { SampleSource } from "../../data/samples.js";
import { draws, fillNormal, fillUniform } from "../../engine/random/philox.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import { IsoergError } from "../../util/error.js";
import type { Images } from "../passes.js";

export type Shape = readonly [number, number, number];

export function uniformNoise(shape: Shape, numImages: number, seed: bigint): Images {
  const size = shape[0] * shape[1] * shape[2];
  const data = new Float32Array(numImages * size);
  for (let i = 0; i < numImages; i++) {
    fillUniform(data.subarray(i * size, (i + 1) * size), { seed, purpose: PURPOSE.noiseImages, step: 0, position: i });
  }
  return { shape, numImages, data };
}

/** Every pixel apart, with the data's mean and deviation by channel, clamped to [0,1]. */
export function gaussianNoise(
  shape: Shape,
  numImages: number,
  seed: bigint,
  statistics: { mean: readonly number[]; std: readonly number[] },
): Images {
  const size = shape[0] * shape[1] * shape[2];
  const data = new Float32Array(numImages * size);
  for (let i = 0; i < numImages; i++) {
    fillNormal(data.subarray(i * size, (i + 1) * size), { seed, purpose: PURPOSE.noiseImages, step: 1, position: i });
  }
  const channels = shape[2];
  for (let i = 0; i < data.length; i++) {
    const value = (statistics.mean[i % channels] as number) + (statistics.std[i % channels] as number) * (data[i] as number);
    data[i] = Math.min(1, Math.max(0, value));
  }
  return { shape, numImages, data };
}

/** The mean of image i and another one of the set, drawn for i. */
export function interpolations(images: Images, numImages: number, seed: bigint): Images {
  const [height, width, channels] = images.shape;
  const size = height * width * channels;
  const count = images.numImages < 2 ? 0 : Math.min(numImages, images.numImages);
  const unit = images.data instanceof Uint8Array ? 1 / 255 : 1;
  const data = new Float32Array(count * size);
  for (let i = 0; i < count; i++) {
    const random = draws({ seed, purpose: PURPOSE.noiseImages, step: 2, position: i });
    const other = (i + 1 + random.below(images.numImages - 1)) % images.numImages;
    for (let p = 0; p < size; p++) {
      data[i * size + p] = (((images.data[i * size + p] as number) + (images.data[other * size + p] as number)) / 2) * unit;
    }
  }
  return { shape: images.shape, numImages: count, data };
}

export interface OtherImages {
  readonly images: Images;
  /** What had to be done to make them fit, for people; null for nothing. */
  readonly adapted: string | null;
}

/** The first samples of another data set, resized bilinearly (half-pixel centres), grey repeated or colours averaged. */
export async function otherImages(source: SampleSource, shape: Shape, numImages: number): Promise<OtherImages> {
  const count = Math.min(numImages, source.numSamples);
  const { images } = await source.read(Uint32Array.from({ length: count }, (_, i) => i));
  const from: Shape = [source.shape.height, source.shape.width, source.shape.channels];
  const steps: string[] = [];
  if (from[0] !== shape[0] || from[1] !== shape[1]) steps.push(`resized from ${from[0]}x${from[1]} to ${shape[0]}x${shape[1]}`);
  if (from[2] !== shape[2]) {
    if (from[2] !== 1 && shape[2] !== 1) {
      throw new IsoergError("DATA", `images of ${from[2]} channels can't stand in for ${shape[2]}`, {
        hint: "Take a data set of the same channels, or a grey one.",
      });
    }
    steps.push(from[2] === 1 ? `grey repeated over ${shape[2]} channels` : "colours averaged to grey");
  }
  return {
    images: { shape, numImages: count, data: steps.length === 0 ? images : adapt(images, count, from, shape) },
    adapted: steps.length === 0 ? null : steps.join(", "),
  };
}

function adapt(pixels: Uint8Array, count: number, from: Shape, to: Shape): Float32Array {
  const [height, width, channels] = from;
  const out = new Float32Array(count * to[0] * to[1] * to[2]);
  const at = (image: number, y: number, x: number, channel: number): number => {
    const pixel = ((image * height + y) * width + x) * channels;
    if (channels === to[2]) return pixels[pixel + channel] as number;
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += pixels[pixel + c] as number;
    return sum / channels;
  };
  let next = 0;
  for (let image = 0; image < count; image++) {
    for (let y = 0; y < to[0]; y++) {
      const [top, bottom, down] = between(y, to[0], height);
      for (let x = 0; x < to[1]; x++) {
        const [left, right, along] = between(x, to[1], width);
        for (let c = 0; c < to[2]; c++) {
          const above = at(image, top, left, c) * (1 - along) + at(image, top, right, c) * along;
          const below = at(image, bottom, left, c) * (1 - along) + at(image, bottom, right, c) * along;
          out[next++] = (above * (1 - down) + below * down) / 255;
        }
      }
    }
  }
  return out;
}

/** The two neighbours of a target's centre, and how far it lies towards the second. */
function between(index: number, to: number, from: number): [number, number, number] {
  const centre = Math.min(from - 1, Math.max(0, ((index + 0.5) * from) / to - 0.5));
  const low = Math.floor(centre);
  return [low, Math.min(from - 1, low + 1), centre - low];
}
