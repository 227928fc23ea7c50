/**
 * Chains on the energy: x <- x + move(dE/dx) + s N(0, I), kept in [0,1]. With the plain move -a dE/dx this is stochastic gradient
 * Langevin dynamics (Welling & Teh 2011; JEM); `moves.ts` has the others.
 *
 * Noise is drawn per (step, inner step, position): a chain's path does not depend on which worker advances it.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { SamplerConfig } from "../config/schema.js";
import { type NoiseKey, ops } from "../engine/ops.js";
import { energyHead } from "../model/heads.js";
import type { Classifier, Head } from "../model/model.js";
import { type MoveConfig, moveOf } from "./moves.js";

/** What advancing chains reads of the sampler's settings; without `kind` they are plain Langevin steps. */
export type ChainConfig = MoveConfig & Pick<SamplerConfig, "noise">;

export interface SgldInput {
  readonly model: Classifier;
  readonly config: ChainConfig;
  readonly steps: number;
  /** Where noise is drawn from; `inner` counts Langevin steps from `firstStep` on. */
  readonly key: Omit<NoiseKey, "inner">;
  readonly firstStep?: number;
  /** The energy that the chains descend: E(x) by default, E(x,y) for class-conditional chains. */
  readonly energy?: Head;
}

/** Advances chains [n,H,W,C] by `steps`; the start is disposed, the caller disposes the result. */
export function advanceChains(start: Tensor4D, input: SgldInput): Tensor4D {
  const { model, config, steps, key, firstStep = 0 } = input;
  const energy = input.energy ?? energyHead();
  let current = start;
  for (let step = 0; step < steps; step++) {
    const { logits, gradient } = model.inputGradient(current, energy);
    const next = tf.tidy(() => {
      const drifted = tf.add(current, moveOf(gradient, config));
      if (config.noise === 0) return tf.clipByValue(drifted, 0, 1);
      const noise = ops().noise("normal", { ...key, inner: firstStep + step }, current.shape.slice(1));
      return tf.clipByValue(tf.add(drifted, tf.mul(noise, config.noise)), 0, 1);
    }) as Tensor4D;
    tf.dispose([current, logits, gradient]);
    current = next;
  }
  return current;
}
