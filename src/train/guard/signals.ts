/**
 * The guard's signals of one step, as figures: shares of means over the global batch, so that the sum over the workers is the
 * signal whatever the slices.
 *
 *   guard/energy-square/clean, guard/energy-square/generated   mean E^2
 *   guard/chain-gradient  mean over chains of |dE/dx|_2 as their last Langevin step saw it
 *   guard/saturation      share of pixels at 0 or 1 in chains, less that of the clean samples (whose borders may be black)
 *   guard/chain-age       mean number of training steps that the chains have been under way
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { BoundModel } from "../../model/model.js";
import type { Views } from "../../objective/view.js";
import type { TakenChains } from "../../sampler/replay-buffer.js";
import type { Figures } from "./rules.js";

/** A model that remembers the input gradient it gave last, so that samplers need not know of the guard. */
export interface WatchedModel {
  readonly model: BoundModel;
  /** Sum over the samples of |gradient|_2 of the last call; 0 before any. Forgets it. */
  takeNormSum(): number;
}

export function watchGradients(model: BoundModel): WatchedModel {
  let last: Tensor4D | null = null;
  const forget = (): void => {
    last?.dispose();
    last = null;
  };
  return {
    model: {
      logits: (x) => model.logits(x),
      forward: (x) => model.forward(x),
      dispose: () => model.dispose(),
      inputGradient(x, head) {
        const result = model.inputGradient(x, head);
        forget();
        last = tf.keep(result.gradient.clone());
        return result;
      },
    },
    takeNormSum() {
      const gradient = last;
      if (gradient === null) return 0;
      const sum = tf.tidy(() => tf.sum(tf.sqrt(tf.sum(tf.square(gradient), [1, 2, 3]))).dataSync()[0] as number);
      forget();
      return sum;
    },
  };
}

export interface ChainReading {
  readonly taken: TakenChains;
  /** After this step's Langevin steps [n*H*W*C]. */
  readonly advanced: Float32Array;
  /** null: no Langevin step was taken, on any worker. */
  readonly gradientNormSum: number | null;
  /** Chains of the global step. */
  readonly total: number;
  /** Values of one sample. */
  readonly size: number;
}

/** This worker's shares of the signals of the chains. */
export function chainSignals(chains: ChainReading, clean: { readonly images: Float32Array; readonly total: number }): Figures {
  const { taken, advanced, gradientNormSum, total, size } = chains;
  const numChains = taken.positions.length;
  return {
    ...(gradientNormSum !== null && { "guard/chain-gradient": gradientNormSum / total }),
    "guard/saturation": (numSaturated(advanced) / total - numSaturated(clean.images) / clean.total) / size,
    "guard/chain-age": (taken.meanAge * numChains) / total,
  };
}

/** This worker's shares of the energies' size, of each view that this step has. */
export function energySignals(views: Views): Figures {
  const figures: Record<string, number> = {};
  for (const name of ["clean", "generated"] as const) {
    const view = views[name];
    if (view) figures[`guard/energy-square/${name}`] = view.energies.reduce((sum, energy) => sum + energy * energy, 0) / view.total;
  }
  return figures;
}

function numSaturated(images: Float32Array): number {
  let count = 0;
  for (let i = 0; i < images.length; i++) if ((images[i] as number) <= 0 || (images[i] as number) >= 1) count++;
  return count;
}
