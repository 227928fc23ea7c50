/**
 * The statistics of randomised smoothing, in float64: the regularised incomplete beta function, Clopper-Pearson bounds of a share,
 * the two-sided binomial test at one half, and the normal quantile.
 *
 * Sources: continued fraction of the incomplete beta function, DLMF 8.17.22, by the modified Lentz algorithm; ln gamma by
 * Lanczos' approximation (g = 7, 9 terms); Clopper & Pearson 1934; normal quantile by Acklam's rational approximation and one
 * step of Halley's method on erfc, which is itself computed to full precision.
 */
import { invariant } from "../../util/error.js";

const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905,
  -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];

/** ln Gamma(x) for x > 0. */
export function lnGamma(x: number): number {
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - lnGamma(1 - x);
  const z = x - 1;
  let sum = LANCZOS[0] as number;
  for (let i = 1; i < LANCZOS.length; i++) sum += (LANCZOS[i] as number) / (z + i);
  const t = z + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (z + 0.5) * Math.log(t) - t + Math.log(sum);
}

/** I_x(a, b), the distribution function of Beta(a, b). */
export function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const front = Math.exp(lnGamma(a + b) - lnGamma(a) - lnGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
  // The fraction converges fast below the mean; above it, the other tail is computed.
  return x < (a + 1) / (a + b + 2) ? (front * fraction(x, a, b)) / a : 1 - (front * fraction(1 - x, b, a)) / b;
}

function fraction(x: number, a: number, b: number): number {
  const tiny = 1e-300;
  let c = 1;
  let d = 1 - ((a + b) * x) / (a + 1);
  d = 1 / (Math.abs(d) < tiny ? tiny : d);
  let value = d;
  for (let m = 1; m <= 100_000; m++) {
    let change = 1;
    for (const term of [
      (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
      (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)),
    ]) {
      d = 1 + term * d;
      d = 1 / (Math.abs(d) < tiny ? tiny : d);
      c = 1 + term / c;
      if (Math.abs(c) < tiny) c = tiny;
      value *= d * c;
      change = d * c;
    }
    if (Math.abs(change - 1) < 1e-15) return value;
  }
  return value;
}

/** The p for which I_p(a, b) = share, by bisection to the last bit. */
export function inverseIncompleteBeta(share: number, a: number, b: number): number {
  let [low, high] = [0, 1];
  for (let i = 0; i < 200; i++) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) break;
    if (incompleteBeta(middle, a, b) < share) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** One-sided Clopper-Pearson: with confidence 1 - alpha, the true share of `hits` among `total` is at least this. */
export function lowerBound(hits: number, total: number, alpha: number): number {
  invariant(total > 0 && hits >= 0 && hits <= total, `${hits} of ${total} is no share`);
  return hits === 0 ? 0 : inverseIncompleteBeta(alpha, hits, total - hits + 1);
}

/** The same from above. */
export function upperBound(hits: number, total: number, alpha: number): number {
  return 1 - lowerBound(total - hits, total, alpha);
}

/** Two-sided p-value of `hits` among `total` under a fair coin. */
export function fairCoinPValue(hits: number, total: number): number {
  const fewer = Math.min(hits, total - hits);
  if (2 * fewer === total) return 1;
  // P(X <= k) = I_{1/2}(n - k, k + 1), and the coin is symmetric.
  return Math.min(1, 2 * incompleteBeta(0.5, total - fewer, fewer + 1));
}

/** P(Z <= x) */
export function normalDistribution(x: number): number {
  return 0.5 * erfc(-x / Math.SQRT2);
}

/** The x for which P(Z <= x) = p; infinite at 0 and 1. */
export function normalQuantile(p: number): number {
  if (p <= 0) return Number.NEGATIVE_INFINITY;
  if (p >= 1) return Number.POSITIVE_INFINITY;
  if (p > 0.5) return -normalQuantile(1 - p);
  const x = acklam(p);
  const error = 0.5 * erfc(-x / Math.SQRT2) - p;
  const step = error * Math.sqrt(2 * Math.PI) * Math.exp((x * x) / 2);
  return x - step / (1 + (x * step) / 2);
}

function acklam(p: number): number {
  const a = [-39.69683028665376, 220.9460984245205, -275.9285104469687, 138.357751867269, -30.66479806614716, 2.506628277459239];
  const b = [-54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972, -13.28068155288572, 1];
  const c = [-0.007784894002430293, -0.3223964580411365, -2.400758277161838, -2.549732539343734, 4.374664141464968, 2.938163982698783];
  const d = [0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416, 1];
  const polynomial = (coefficients: readonly number[], at: number): number => coefficients.reduce((sum, one) => sum * at + one, 0);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return polynomial(c, q) / polynomial(d, q);
  }
  const q = p - 0.5;
  return (q * polynomial(a, q * q)) / polynomial(b, q * q);
}

/** 1 - erf(x): the series of erf near zero, the continued fraction (DLMF 7.9.1) further out. */
export function erfc(x: number): number {
  if (x < 0) return 2 - erfc(-x);
  if (x < 1.5) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
      if (n > 200) break;
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * sum;
  }
  // From the far end inwards; 120 levels are plenty from 1.5 on.
  let tail = 0;
  for (let n = 120; n >= 1; n--) tail = n / 2 / (x + tail);
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + tail);
}
