/**
 * TrivialAugment (Müller & Hutter 2021) in its wide space: ONE operation for each image, uniformly one of fourteen, at a strength
 * that is uniformly one of 31. It has nothing to tune and equals or beats searched policies (AutoAugment) on CIFAR.
 *
 * What is drawn is a function of (seed, step, position), so every cut of the batch gives the same pixels. `magnitude` below 30
 * bounds the strength, for data that the strongest operations make unrecognisable.
 */
import { draws } from "../engine/random/philox.js";
import { PURPOSE } from "../engine/random/purpose.js";
import { affine, autoContrast, brightness, color, contrast, equalize, posterize, rotate, sharpness, solarize } from "./image-operations.js";
import type { SampleShape } from "./samples.js";

/** The largest index of a strength. */
export const STRONGEST = 30;

/** `strength` in [0,1]; `sign` is 1 or -1, for operations that have two directions. */
type Operation = (image: Uint8Array, shape: SampleShape, strength: number, sign: number) => Uint8Array;

/** In the paper's order; its largest strengths: shear .99, shift 32 pixels, 135 degrees, enhancement factors 1 +- .99, 2 bits. */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  identity: (image) => image.slice(),
  "auto-contrast": (image, shape) => autoContrast(image, shape),
  equalize: (image, shape) => equalize(image, shape),
  rotate: (image, shape, strength, sign) => rotate(image, shape, sign * strength * 135),
  solarize: (image, shape, strength) => solarize(image, shape, 255 * (1 - strength)),
  color: (image, shape, strength, sign) => color(image, shape, 1 + sign * strength * 0.99),
  posterize: (image, shape, strength) => posterize(image, shape, 8 - Math.round(6 * strength)),
  contrast: (image, shape, strength, sign) => contrast(image, shape, 1 + sign * strength * 0.99),
  brightness: (image, shape, strength, sign) => brightness(image, shape, 1 + sign * strength * 0.99),
  sharpness: (image, shape, strength, sign) => sharpness(image, shape, 1 + sign * strength * 0.99),
  "shear-x": (image, shape, strength, sign) => affine(image, shape, [1, sign * strength * 0.99, 0, 0, 1, 0]),
  "shear-y": (image, shape, strength, sign) => affine(image, shape, [1, 0, 0, sign * strength * 0.99, 1, 0]),
  "translate-x": (image, shape, strength, sign) => affine(image, shape, [1, 0, sign * Math.trunc(strength * 32), 0, 1, 0]),
  "translate-y": (image, shape, strength, sign) => affine(image, shape, [1, 0, 0, 0, 1, sign * Math.trunc(strength * 32)]),
};

const NAMES = Object.keys(OPERATIONS);
/** Apart from the draws of flips and shifts, so that turning one on does not move the others. */
const INNER = 1;

export interface Drawn {
  readonly operation: string;
  /** 0..30 */
  readonly index: number;
  readonly sign: 1 | -1;
}

/** What is done to the sample at a position. */
export function drawOperation(at: { readonly seed: bigint; readonly step: number; readonly position: number }, magnitude: number): Drawn {
  const random = draws({ ...at, purpose: PURPOSE.augment, inner: INNER });
  const operation = NAMES[random.below(NAMES.length)] as string;
  const index = random.below(magnitude + 1);
  return { operation, index, sign: random.below(2) === 1 ? 1 : -1 };
}

/** Applies what was drawn to one image [H,W,C]; the result is a new one. */
export function applyOperation(image: Uint8Array, shape: SampleShape, { operation, index, sign }: Drawn): Uint8Array {
  return (OPERATIONS[operation] as Operation)(image, shape, index / STRONGEST, sign);
}
