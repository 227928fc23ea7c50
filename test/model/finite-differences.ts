/** Directional derivatives by differences of fourth order, and deterministic values to take them at. */
import { fillNormal } from "../../src/engine/random/philox.js";

/** Standard normal values, a function of the two numbers. */
export function normalValues(length: number, seed: number, scale = 1): Float32Array {
  const values = new Float32Array(length);
  fillNormal(values, { seed: BigInt(seed), purpose: 10, step: 0, position: 0 });
  return values.map((v) => v * scale);
}

/** d/dt f(at + t direction) at t = 0, with error O(h^4). */
export function slope(f: (values: Float32Array) => number, at: Float32Array, direction: Float32Array, h: number): number {
  const value = (t: number) => f(at.map((v, i) => v + t * (direction[i] as number)));
  return (8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))) / (12 * h);
}

/** Inner product in float64. */
export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}
