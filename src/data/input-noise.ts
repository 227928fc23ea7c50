/**
 * Gaussian noise on an image, kept in [0,1]: JEM trains on images that are blurred so by 0.03 on [-1,1], which is 0.015 here, so that
 * 8-bit images have a density at all. A function of the key alone.
 */
import { fillNormal, type StreamKey } from "../engine/random/philox.js";
import { PURPOSE } from "../engine/random/purpose.js";

/** Adds N(0, std) to each value of `image`, in place. `std` in pixels. */
export function addNoise(image: Float32Array, std: number, at: Omit<StreamKey, "purpose"> & { readonly position: number }): void {
  const noise = new Float32Array(image.length);
  fillNormal(noise, { ...at, purpose: PURPOSE.inputNoise });
  for (let i = 0; i < image.length; i++) {
    image[i] = Math.max(0, Math.min(1, (image[i] as number) + std * (noise[i] as number)));
  }
}
