/**
 * What the slowest of n workers takes: a step ends when the last one is done.
 *
 * Two views of the same measured times. The order statistics of the empirical distribution are exact for draws from those very
 * measurements (and what the simulation draws), but know no time beyond the longest one seen. The normal tail (Blom 1958) goes on
 * beyond it, as far as the times are normal; where more workers are asked for than there are measurements it tells how much may be
 * missing.
 */

/** The mean of the largest of n draws with replacement. @param sorted ascending, at least one value */
export function expectedMaximum(sorted: readonly number[], n: number): number {
  // P(max <= x_i) = (i/m)^n, so x_i is the largest with probability (i/m)^n - ((i-1)/m)^n.
  const m = sorted.length;
  let sum = 0;
  let below = 0;
  for (const [i, value] of sorted.entries()) {
    const upTo = ((i + 1) / m) ** n;
    sum += value * (upTo - below);
    below = upTo;
  }
  return sum;
}

/** The mean of the largest of n normal values, by Blom's approximation: 5 % too much for n = 2, within 1 % from n = 10 on. */
export function normalMaximum({ mean, deviation }: { readonly mean: number; readonly deviation: number }, n: number): number {
  return n <= 1 ? mean : mean + deviation * normalQuantile((n - 0.375) / (n + 0.25));
}

export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

export function deviationOf(values: readonly number[]): number {
  const mean = meanOf(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length - 1));
}

/** Of sorted values, interpolated between neighbours. */
export function quantileOf(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1);
  const low = sorted[Math.floor(at)] as number;
  const high = sorted[Math.ceil(at)] as number;
  return low + (at - Math.floor(at)) * (high - low);
}

/** The inverse of the normal distribution, by bisection on Abramowitz & Stegun 7.1.26 (absolute error of the share below 1e-7). */
function normalQuantile(share: number): number {
  let low = -10;
  let high = 10;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (normalShare(middle) < share) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

function normalShare(x: number): number {
  const t = 1 / (1 + (0.3275911 * Math.abs(x)) / Math.SQRT2);
  const poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const half = 0.5 * poly * Math.exp((-x * x) / 2);
  return x < 0 ? half : 1 - half;
}
