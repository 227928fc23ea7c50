/**
 * Two pieces of dense linear algebra in float64, for matrices of a few thousand rows: the pivoted Cholesky factor of a positive
 * semi-definite matrix, and the eigenvalues of a symmetric one. Both are backward stable; no vectors are computed, because a
 * Fréchet distance needs none.
 *
 * Follows Golub & Van Loan, "Matrix Computations", 4th edition: 4.2.8 (diagonal pivoting), 8.3.1 (Householder tridiagonal form),
 * 8.3.3 (implicit QL with Wilkinson's shift).
 */
import { invariant } from "../../util/error.js";

/** A = F F^T: F is [size, rank], row-major. */
export interface Factor {
  readonly values: Float64Array;
  readonly rank: number;
}

/**
 * Ends where the largest remaining pivot is rounding error, so a singular matrix (fewer samples than features) gets a factor of its rank.
 * @param matrix [size, size], row-major, symmetric; only read. @throws nothing: negative rounding on the diagonal counts as zero.
 */
export function pivotedCholesky(matrix: Float64Array, size: number): Factor {
  invariant(matrix.length === size * size, `${matrix.length} values for a matrix of ${size} rows`);
  const diagonal = Float64Array.from({ length: size }, (_, i) => matrix[i * size + i] as number);
  const tolerance = size * Number.EPSILON * diagonal.reduce((largest, value) => Math.max(largest, value), 0);
  const rows = Float64Array.from({ length: size * size }, () => 0); // the factor's columns as rows: [rank, size]
  const taken = new Uint8Array(size);
  let rank = 0;
  for (; rank < size; rank++) {
    let pivot = -1;
    for (let i = 0; i < size; i++) if (!taken[i] && (pivot < 0 || (diagonal[i] as number) > (diagonal[pivot] as number))) pivot = i;
    const largest = pivot < 0 ? 0 : (diagonal[pivot] as number);
    if (!(largest > tolerance)) break;
    taken[pivot] = 1;
    const root = Math.sqrt(largest);
    const column = rows.subarray(rank * size, (rank + 1) * size);
    for (let i = 0; i < size; i++) column[i] = taken[i] ? 0 : (matrix[pivot * size + i] as number);
    for (let k = 0; k < rank; k++) {
      const before = rows.subarray(k * size, (k + 1) * size);
      const factor = before[pivot] as number;
      if (factor !== 0) for (let i = 0; i < size; i++) if (!taken[i]) column[i] = (column[i] as number) - factor * (before[i] as number);
    }
    for (let i = 0; i < size; i++) {
      if (taken[i]) continue;
      const value = (column[i] as number) / root;
      column[i] = value;
      diagonal[i] = (diagonal[i] as number) - value * value;
    }
    column[pivot] = root;
  }
  const values = new Float64Array(size * rank);
  for (let k = 0; k < rank; k++) for (let i = 0; i < size; i++) values[i * rank + k] = rows[k * size + i] as number;
  return { values, rank };
}

/**
 * Ascending.
 * @param matrix [size, size], row-major, symmetric; overwritten.
 */
export function symmetricEigenvalues(matrix: Float64Array, size: number): Float64Array {
  invariant(matrix.length === size * size, `${matrix.length} values for a matrix of ${size} rows`);
  const { diagonal, below } = tridiagonal(matrix, size);
  return tridiagonalEigenvalues(diagonal, below).sort();
}

/** Householder reflections from both sides: A <- A - v w^T - w v^T, a column at a time. */
function tridiagonal(a: Float64Array, n: number): { diagonal: Float64Array; below: Float64Array } {
  const diagonal = new Float64Array(n);
  const below = new Float64Array(n); // below[i] couples i and i+1; the last is 0
  const v = new Float64Array(n);
  const w = new Float64Array(n);
  for (let k = 0; k < n; k++) {
    diagonal[k] = a[k * n + k] as number;
    if (k === n - 1) break;
    let tail = 0;
    for (let i = k + 2; i < n; i++) tail += (a[i * n + k] as number) ** 2;
    const head = a[(k + 1) * n + k] as number;
    if (tail === 0) {
      below[k] = head;
      continue;
    }
    const norm = Math.sqrt(head * head + tail);
    const alpha = head > 0 ? -norm : norm;
    below[k] = alpha;
    for (let i = k + 1; i < n; i++) v[i] = a[i * n + k] as number;
    v[k + 1] = head - alpha;
    const beta = 2 / ((v[k + 1] as number) ** 2 + tail);
    let inner = 0;
    for (let i = k + 1; i < n; i++) {
      const row = i * n;
      let sum = 0;
      for (let j = k + 1; j < n; j++) sum += (a[row + j] as number) * (v[j] as number);
      w[i] = beta * sum;
      inner += (w[i] as number) * (v[i] as number);
    }
    const half = (beta / 2) * inner;
    for (let i = k + 1; i < n; i++) w[i] = (w[i] as number) - half * (v[i] as number);
    for (let i = k + 1; i < n; i++) {
      const row = i * n;
      const vi = v[i] as number;
      const wi = w[i] as number;
      for (let j = k + 1; j < n; j++) a[row + j] = (a[row + j] as number) - vi * (w[j] as number) - wi * (v[j] as number);
    }
  }
  return { diagonal, below };
}

const MAX_SWEEPS = 60;

/** Implicit QL; both arrays are overwritten, the eigenvalues come back in `d`, unordered. */
function tridiagonalEigenvalues(d: Float64Array, e: Float64Array): Float64Array {
  const n = d.length;
  for (let low = 0; low < n; low++) {
    for (let sweep = 0; ; sweep++) {
      let high = low;
      for (; high < n - 1; high++) {
        const scale = Math.abs(d[high] as number) + Math.abs(d[high + 1] as number);
        if (Math.abs(e[high] as number) <= Number.EPSILON * scale) break;
      }
      if (high === low) break;
      invariant(sweep < MAX_SWEEPS, `an eigenvalue did not converge in ${MAX_SWEEPS} sweeps`);
      qlSweep(d, e, low, high);
    }
  }
  return d;
}

/** One sweep of rotations over rows low..high, which are coupled throughout. */
function qlSweep(d: Float64Array, e: Float64Array, low: number, high: number): void {
  const first = d[low] as number;
  const coupling = e[low] as number;
  const slope = ((d[low + 1] as number) - first) / (2 * coupling);
  const length = Math.sqrt(slope * slope + 1);
  let g = (d[high] as number) - first + coupling / (slope + (slope >= 0 ? length : -length));
  let sine = 1;
  let cosine = 1;
  let shifted = 0;
  for (let i = high - 1; i >= low; i--) {
    const f = sine * (e[i] as number);
    const b = cosine * (e[i] as number);
    const r = Math.sqrt(f * f + g * g);
    e[i + 1] = r;
    if (r === 0) {
      // A coupling vanished on the way: the problem has split here.
      d[i + 1] = (d[i + 1] as number) - shifted;
      e[high] = 0;
      return;
    }
    sine = f / r;
    cosine = g / r;
    g = (d[i + 1] as number) - shifted;
    const t = ((d[i] as number) - g) * sine + 2 * cosine * b;
    shifted = sine * t;
    d[i + 1] = g + shifted;
    g = cosine * t - b;
  }
  d[low] = (d[low] as number) - shifted;
  e[low] = g;
  e[high] = 0;
}
