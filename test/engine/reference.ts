/**
 * What each engine operation means, in plain loops over float64: the independent oracle of the contract suite. Written from
 * the definitions, slow on purpose. `slope` differentiates any of them numerically.
 */
import type { Activation } from "../../src/engine/ops.js";

export interface Conv {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  readonly cin: number;
  readonly cout: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
}

export const outSize = (size: number, c: Conv): number => Math.floor((size + 2 * c.padding - c.kernel) / c.stride) + 1;

/** x [B,H,W,cin], f [k,k,cin,cout] -> [B,H',W',cout] */
export function conv2d(x: Float64Array, f: Float64Array, c: Conv): Float64Array {
  const [rows, columns] = [outSize(c.height, c), outSize(c.width, c)];
  const y = new Float64Array(c.batch * rows * columns * c.cout);
  let at = 0;
  for (let b = 0; b < c.batch; b++)
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        for (let k = 0; k < c.cout; k++) {
          let sum = 0;
          for (let u = 0; u < c.kernel; u++)
            for (let v = 0; v < c.kernel; v++) {
              const i = row * c.stride + u - c.padding;
              const j = column * c.stride + v - c.padding;
              if (i < 0 || j < 0 || i >= c.height || j >= c.width) continue;
              for (let n = 0; n < c.cin; n++) {
                const pixel = x[((b * c.height + i) * c.width + j) * c.cin + n] as number;
                sum += pixel * (f[((u * c.kernel + v) * c.cin + n) * c.cout + k] as number);
              }
            }
          y[at++] = sum;
        }
  return y;
}

export function activation(x: number, f: Activation): number {
  switch (f.kind) {
    case "relu":
      return Math.max(x, 0);
    case "silu":
      return x / (1 + Math.exp(-x));
    case "gelu":
      return (x * (1 + erf(x / Math.SQRT2))) / 2;
    case "elu":
      return x > 0 ? x : Math.expm1(x);
    case "leaky-relu":
      return x > 0 ? x : f.slope * x;
    case "softplus":
      return (Math.max(f.sharpness * x, 0) + Math.log1p(Math.exp(-Math.abs(f.sharpness * x)))) / f.sharpness;
    case "smooth-relu":
      return x > 0 ? x - Math.log1p(f.sharpness * x) / f.sharpness : 0;
    default:
      return f satisfies never;
  }
}

/** erf(x) by its series for small |x| and by Laplace's continued fraction of erfc beyond, to about 1e-14. */
function erf(x: number): number {
  const z = Math.abs(x);
  if (z > 6) return Math.sign(x);
  if (z < 2.5) {
    let term = z;
    let sum = z;
    for (let n = 1; n < 60; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let tail = z; // erfc(z) = exp(-z^2) / sqrt(pi) / (z + (1/2)/(z + 1/(z + (3/2)/(z + ...))))
  for (let n = 120; n >= 1; n--) tail = z + n / 2 / tail;
  return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / tail);
}

export interface Norm {
  readonly batch: number;
  readonly pixels: number;
  readonly channels: number;
  readonly groups: number;
  readonly epsilon: number;
}

/** x [B,pixels,C] -> [B,pixels,C] */
export function groupNorm(x: Float64Array, gamma: Float64Array, beta: Float64Array, n: Norm): Float64Array {
  const y = new Float64Array(x.length);
  const perGroup = n.channels / n.groups;
  for (let b = 0; b < n.batch; b++)
    for (let g = 0; g < n.groups; g++) {
      const members: number[] = [];
      for (let p = 0; p < n.pixels; p++)
        for (let c = 0; c < perGroup; c++) members.push((b * n.pixels + p) * n.channels + g * perGroup + c);
      const values = members.map((i) => x[i] as number);
      const mean = values.reduce((a, v) => a + v, 0) / values.length;
      const variance = values.reduce((a, v) => a + (v - mean) ** 2, 0) / values.length;
      for (const i of members) {
        const xhat = ((x[i] as number) - mean) / Math.sqrt(variance + n.epsilon);
        y[i] = (gamma[i % n.channels] as number) * xhat + (beta[i % n.channels] as number);
      }
    }
  return y;
}

/** Central difference of sum(weights * f(x)) along coordinate `i` of x. */
export function slope(f: (x: Float64Array) => Float64Array, weights: Float64Array, x: Float64Array, i: number, h = 1e-5): number {
  const along = (by: number) => {
    const moved = x.slice();
    moved[i] = (moved[i] as number) + by;
    return f(moved).reduce((sum, value, j) => sum + value * (weights[j] as number), 0);
  };
  return (along(h) - along(-h)) / (2 * h);
}
