/**
 * Two passes that stand for a derivative: v . grad L(x) = |v| (L(x + s u) - L(x - s u)) / (2 s) + O(s^2), u = v/|v|.
 *
 * So a term that needs the parameters' gradient of an input gradient gets it without double backpropagation: the two probes
 * are ordinary samples of the update. Error: s^2/6 of the third derivative along u, and the float32 rounding of L over 2 s;
 * s = `objective.difference-step` is small beside the ball of an attack (1.7 pixels in L2 for 8/255 on 32x32x3) and large beside
 * that rounding. A probe may leave [0,1] by at most s: a derivative is taken at the point itself.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { norms, perSample, unit } from "./input-gradient.js";

export interface Probes {
  readonly ahead: Tensor4D;
  readonly behind: Tensor4D;
  /** |v| / (2 s) of each sample. */
  readonly scale: Float64Array;
}

/** Probes at `x` along `v`, `step` pixels (L2) to either side. */
export function probesAlong(x: Tensor4D, v: Tensor4D, step: number): Probes {
  const [ahead, behind, length] = tf.tidy(() => {
    const move = tf.mul(unit(v), step);
    return [tf.add(x, move) as Tensor4D, tf.sub(x, move) as Tensor4D, norms(v)] as const;
  });
  const scale = perSample(length).map((l) => l / (2 * step));
  length.dispose();
  return { ahead, behind, scale };
}
