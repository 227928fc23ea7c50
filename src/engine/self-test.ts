/**
 * A short proof that a started engine computes what it should: one convolution with both gradients and an activation, compared
 * with the cpu reference and with the identity that ties the three together, <conv(x, f), dy> = <x, dX> = <f, dF>.
 */
import * as tf from "@tensorflow/tfjs-core";
import { invariant } from "../util/error.js";
import { startCpu } from "./cpu.js";
import type { Engine } from "./engine.js";
import { ops } from "./ops.js";

export interface SelfTest {
  readonly ok: boolean;
  /** Largest error, as a share of the largest value. */
  readonly worstError: number;
  readonly tolerance: number;
}

const geometry = { stride: 2, padding: 1 };
const shapes: Record<"x" | "filter" | "dy", [number, number, number, number]> = {
  x: [3, 15, 14, 8],
  filter: [3, 3, 8, 16],
  dy: [3, 8, 7, 16],
};
const tolerance = 1e-5;

/** Leaves TensorFlow.js on the engine that was tested. */
export async function selfTest(engine: Engine): Promise<SelfTest> {
  const results = compute();
  const backend = tf.getBackend();
  await startCpu();
  const expected = compute();
  await tf.setBackend(backend);

  const [image, filter, dy] = [wave(shapes.x, 1), wave(shapes.filter, 2), wave(shapes.dy, 3)];
  const product = dot(results.y, dy);
  const scale = norm(results.y) * norm(dy);
  const identity = Math.max(Math.abs(product - dot(image, results.dx)), Math.abs(product - dot(filter, results.df))) / scale;
  const differences = (Object.keys(expected) as (keyof Results)[]).map((name) => relativeError(results[name], expected[name]));
  const worstError = Math.max(identity, ...differences);
  return { ok: worstError <= tolerance && engine.name === backend, worstError, tolerance };
}

interface Results {
  readonly y: Float32Array;
  readonly dx: Float32Array;
  readonly df: Float32Array;
  readonly silu: Float32Array;
}

function compute(): Results {
  const read = (t: tf.Tensor) => (t.dataSync() as Float32Array).slice();
  let results: Results | undefined;
  tf.tidy(() => {
    const x = tf.tensor4d(wave(shapes.x, 1), shapes.x);
    const filter = ops().layoutFilter(tf.tensor4d(wave(shapes.filter, 2), shapes.filter), "fp32");
    const dy = tf.tensor4d(wave(shapes.dy, 3), shapes.dy);
    const y = ops().conv2d(x, filter, null, geometry);
    const dx = ops().conv2dInputGrad(dy, filter, shapes.x, geometry);
    const df = ops().conv2dFilterGrad(x, dy, shapes.filter, geometry);
    results = { y: read(y), dx: read(dx), df: read(df), silu: read(ops().activation(y, { kind: "silu" })) };
  });
  invariant(results, "the self-test computed nothing");
  return results;
}

/** Values in [-1,1] without a pattern that a wrong index could hide in. */
function wave(shape: readonly number[], phase: number): Float32Array {
  return Float32Array.from({ length: tf.util.sizeFromShape([...shape]) }, (_, i) =>
    Math.sin(phase + i * (1.7 + 0.01 * phase) + (i * i) / 97),
  );
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * (b[i] ?? Number.NaN), 0);
}

function norm(a: Float32Array): number {
  return Math.sqrt(dot(a, a));
}

function relativeError(actual: Float32Array, expected: Float32Array): number {
  let [worst, scale] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs((actual[i] ?? Number.NaN) - (expected[i] as number));
    if (!(error <= worst)) worst = error; // keeps a NaN
    scale = Math.max(scale, Math.abs(expected[i] as number));
  }
  return worst / scale;
}
