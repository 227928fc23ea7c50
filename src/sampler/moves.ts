/**
 * The registry of samplers: what one step moves a chain by, before noise, given the energy's input gradient g = dE/dx.
 * To add one is to add a function and a line here.
 *
 *   sgld       -a g, bounded pixel by pixel by `clampGradient`: JEM (Grathwohl et al. 2020) without a bound, SADA-JEM with one
 *   proximal   N times that: PYLD of JEM++ (Yang & Ji 2021)
 *   dat        -a g / |g|_2, each chain's step of one length: the negatives of DAT
 *
 * PYLD makes one full pass for p = dE/df0, f0 the first layer's output, and then N inner steps that follow <f0(x), p> with p held
 * fixed. Every model here begins with an affine layer, f0 = W x + b, so that inner gradient is W'p = g at every x: N equal
 * moves, each clamped to [0,1]. Moving one way and clamping each time ends where moving N times as far and clamping once does.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { SamplerConfig } from "../config/schema.js";

/** What a move reads; without `kind` it is plain SGLD. */
export type MoveConfig = Pick<SamplerConfig, "stepSize" | "clampGradient"> & Partial<Pick<SamplerConfig, "kind" | "innerSteps">>;

/** From dE/dx [n,H,W,C]; runs in the caller's `tf.tidy`. */
type Move = (gradient: Tensor4D, config: MoveConfig) => Tensor4D;

const clamped: Move = (gradient, { stepSize, clampGradient }) => {
  const scaled = tf.mul<Tensor4D>(gradient, -stepSize);
  return clampGradient === null ? scaled : tf.clipByValue(scaled, -clampGradient, clampGradient);
};

const proximal: Move = (gradient, config) => tf.mul(clamped(gradient, config), config.innerSteps ?? 1);

const normalised: Move = (gradient, { stepSize }) => {
  const axes = [1, 2, 3];
  // Scaled by its largest value first: squares of small gradients would underflow.
  const largest = tf.maximum(tf.max(tf.abs(gradient), axes, true), 1e-30);
  const unit = tf.div(gradient, largest);
  const length = tf.maximum(tf.sqrt(tf.sum(tf.square(unit), axes, true)), 1e-12);
  return tf.mul(tf.div(unit, length), -stepSize);
};

const MOVES: Readonly<Record<SamplerConfig["kind"], Move>> = { sgld: clamped, proximal, dat: normalised };

export function moveOf(gradient: Tensor4D, config: MoveConfig): Tensor4D {
  return MOVES[config.kind ?? "sgld"](gradient, config);
}
