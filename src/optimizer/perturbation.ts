/**
 * Weights moved along the gradient before the step's own gradient is taken there: the flatter of two minima wins.
 *
 *   awp   v_l = gamma |w_l| g_l / |g_l|            for each tensor of more than one dimension, by itself
 *         (adversarial weight perturbation, Wu, Xia & Wang 2020, as csdongxian/AWP: one ascent step of any length, rescaled)
 *   sam   v = rho t^2 g / |t g|, t = |w| adaptive, else 1   over all parameters together
 *         (Foret et al. 2021; adaptive: Kwon et al. 2021, as SADA-JEM uses it)
 *
 * The gradient is the one summed over all workers, and everything here is float64 arithmetic on the host in one fixed order: all
 * workers move to the same bits, whatever engine or number of them. The price is a second sum over the workers in each step.
 */
import type { OptimizerConfig } from "../config/schema.js";
import type { Parameter } from "../model/model.js";
import { globalNorm } from "./clip.js";

export type Perturbation = OptimizerConfig["perturbation"];

/** Keeps a norm of zero from dividing; as the published code has it. */
const TINY = 1e-12;

/** The perturbed parameters, or null where there is nothing to perturb by now. `progress` in [0,1]. */
export function perturb(
  values: Float32Array,
  gradient: Float32Array,
  parameters: readonly Parameter[],
  { perturbation, progress }: { perturbation: Perturbation; progress: number },
): Float32Array | null {
  if (perturbation.kind === "none" || progress < perturbation.from) return null;
  const moved = values.slice();
  if (perturbation.kind === "sam") {
    addSam(moved, gradient, perturbation);
    return moved;
  }
  for (const { shape, offset, size } of parameters) {
    if (shape.length > 1) addAwp(moved.subarray(offset, offset + size), gradient.subarray(offset, offset + size), perturbation.gamma);
  }
  return moved;
}

function addAwp(w: Float32Array, g: Float32Array, gamma: number): void {
  const scale = (gamma * globalNorm(w)) / (globalNorm(g) + TINY);
  for (let i = 0; i < w.length; i++) (w[i] as number) += scale * (g[i] as number);
}

function addSam(w: Float32Array, g: Float32Array, { rho, adaptive }: { rho: number; adaptive: boolean }): void {
  let squares = 0;
  for (let i = 0; i < w.length; i++) squares += ((adaptive ? (w[i] as number) : 1) * (g[i] as number)) ** 2;
  const scale = rho / (Math.sqrt(squares) + TINY);
  for (let i = 0; i < w.length; i++) {
    const square = adaptive ? (w[i] as number) ** 2 : 1;
    (w[i] as number) += scale * square * (g[i] as number);
  }
}
