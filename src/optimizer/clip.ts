/**
 * Clipping by the global norm (Pascanu, Mikolov & Bengio 2013). The norm is summed on the host, in float64 and in one fixed order:
 * all workers hold the same summed gradient there, and so find the same bits, whatever engine or thread count each has.
 */

/** L2 norm of a whole gradient; NaN or infinite where any value is. */
export function globalNorm(gradient: Float32Array): number {
  const numValues = gradient.length;
  const even = numValues - (numValues % 4);
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  // Four sums, so that an addition needn't wait for the one before it.
  for (let i = 0; i < even; i += 4) {
    const g0 = gradient[i] as number;
    const g1 = gradient[i + 1] as number;
    const g2 = gradient[i + 2] as number;
    const g3 = gradient[i + 3] as number;
    a += g0 * g0;
    b += g1 * g1;
    c += g2 * g2;
    d += g3 * g3;
  }
  for (let i = even; i < numValues; i++) a += (gradient[i] as number) ** 2;
  return Math.sqrt(a + b + (c + d));
}

/** What a gradient is multiplied by so that its norm stays below `clipNorm`; 1 where it already does. As torch's clip_grad_norm_. */
export function clipFactor(norm: number, clipNorm: number): number {
  return Math.min(1, clipNorm / (norm + 1e-6));
}
