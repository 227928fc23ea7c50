/**
 * How a view is made: a named batch of samples, from the step's input and from views made before it.
 *
 * A maker may run passes of its own through the network (an attack, chains, random neighbours). What it makes depends on the
 * samples' positions and never on how the global batch was cut: randomness is keyed by position, and a sample's result
 * does not depend on its neighbours. It works on an empty slice too, and gives the same keys there.
 */

import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Figures } from "../../objective/objective.js";
import type { Constants, ViewName } from "../../objective/view.js";
import { invariant } from "../../util/error.js";
import type { Phase } from "../clock.js";
import type { StepInput } from "../step-input.js";

export interface Samples {
  /** [n,H,W,C] float32 in [0,1]; the step disposes it. */
  readonly x: Tensor4D;
  /** Samples of the global batch, over all workers. */
  readonly total: number;
  /** For terms, a value a sample [n]. */
  readonly constants?: Constants;
}

export type Made = ReadonlyMap<ViewName, Samples>;

export interface ViewMaker {
  /** The views that one call of `make` gives. */
  readonly provides: readonly ViewName[];
  /** What the time goes to. */
  readonly phase: Phase;
  /** null: this step has no such view, on any worker. */
  make(input: StepInput, made: Made): { readonly views: Partial<Record<ViewName, Samples>>; readonly figures?: Figures } | null;
}

/** `images` [n*H*W*C] as a tensor [n,H,W,C]. */
export function imagesToTensor(images: Float32Array, [height, width, channels]: readonly [number, number, number]): Tensor4D {
  return tf.tensor4d(images, [images.length / (height * width * channels), height, width, channels]);
}

/** A view that stands before the maker's own in the registry. */
export function viewMade(made: Made, name: ViewName): Samples {
  const samples = made.get(name);
  invariant(samples, `the view '${name}' is read before it is made`);
  return samples;
}

const NO_CONSTANTS = { scale: new Float64Array(0), cosine: new Float64Array(0), share: new Float64Array(0) };

/** A maker of neighbours of the clean samples `x`; on an empty slice its views are empty, and `make` is not called. */
export function aroundClean(
  provides: readonly ViewName[],
  make: (input: StepInput, x: Tensor4D, total: number) => Partial<Record<ViewName, Samples>>,
): ViewMaker {
  return {
    provides,
    phase: "neighbours",
    make(input, made) {
      const { x, total } = viewMade(made, "clean");
      if (x.shape[0] > 0) return { views: make(input, x, total) };
      return { views: Object.fromEntries(provides.map((name) => [name, { x: x.clone(), total, constants: NO_CONSTANTS }])) };
    },
  };
}
