/**
 * Cutout (DeVries & Taylor 2017): one square of each image is hidden, its centre anywhere in the image, so that part of it may lie
 * outside. What is hidden is mid-grey, which a model that is centred on .5 reads as zero, as the paper's mean does there.
 */
import { draws } from "../engine/random/philox.js";
import { PURPOSE } from "../engine/random/purpose.js";
import type { SampleShape } from "./samples.js";

const GREY = 0.5;
/** Apart from the draws of flips and shifts (0) and of the policy (1). */
const INNER = 2;

/** Hides a square of `side` pixels of one image [H,W,C] in [0,1], in place. */
export function cutOut(
  pixels: Float32Array,
  { height, width, channels }: SampleShape,
  side: number,
  at: { readonly seed: bigint; readonly step: number; readonly position: number },
): void {
  const random = draws({ ...at, purpose: PURPOSE.augment, inner: INNER });
  const top = random.below(height) - Math.floor(side / 2);
  const left = random.below(width) - Math.floor(side / 2);
  const [fromX, toX] = [Math.max(0, left), Math.min(width, left + side)];
  if (toX <= fromX) return;
  for (let y = Math.max(0, top); y < Math.min(height, top + side); y++) {
    pixels.fill(GREY, (y * width + fromX) * channels, (y * width + toX) * channels);
  }
}
