/**
 * The orthonormal two-dimensional DCT-II of small images, in float64. Orthonormal: energies and covariances keep their
 * sizes, and the inverse is the transpose.
 *
 *   X[u,v] = sum_yx c(u,y) c(v,x) x[y,x],   c(k,i) = s_k cos(pi (i + 1/2) k / N),   s_0 = sqrt(1/N), s_k = sqrt(2/N)
 *
 * c(k, N-1-i) = (-1)^k c(k,i) halves the work: even k see sums of mirrored values, odd k differences.
 */

export interface Dct2d {
  /** [H,W] -> [H,W] coefficients. `input` and `output` may be the same array; both are read and written from `at` on. */
  forward(input: Float64Array, output: Float64Array, at: number): void;
  inverse(input: Float64Array, output: Float64Array, at: number): void;
}

export function createDct2d(height: number, width: number): Dct2d {
  const columns = basis(height);
  const rows = basis(width);
  const mirroredColumns = transposed(columns, height);
  const mirroredRows = transposed(rows, width);
  const between = new Float64Array(height * width);
  const half = new Float64Array(Math.max(height, width) * 2);
  return {
    forward(input, output, at) {
      forwardRows(input, at, between, 0, height, width, rows, half);
      forwardRows(between, 0, output, at, width, height, columns, half);
    },
    inverse(input, output, at) {
      inverseRows(input, at, between, 0, height, width, mirroredRows);
      inverseRows(between, 0, output, at, width, height, mirroredColumns);
    },
  };
}

/** c(k,i) as [N, ceil(N/2)]: the other half mirrors it. */
function basis(length: number): Float64Array {
  const numHalf = Math.ceil(length / 2);
  const out = new Float64Array(length * numHalf);
  for (let k = 0; k < length; k++) {
    const scale = Math.sqrt((k === 0 ? 1 : 2) / length);
    for (let i = 0; i < numHalf; i++) out[k * numHalf + i] = scale * Math.cos((Math.PI * (i + 0.5) * k) / length);
  }
  return out;
}

/** Transforms each row of input [numRows, length] and writes the result transposed, [length, numRows]: twice is the 2-D transform. */
function forwardRows(
  input: Float64Array,
  inputAt: number,
  output: Float64Array,
  outputAt: number,
  numRows: number,
  length: number,
  cosines: Float64Array,
  half: Float64Array,
): void {
  const numHalf = Math.ceil(length / 2);
  const middle = length % 2 === 1 ? numHalf - 1 : -1;
  for (let row = 0; row < numRows; row++) {
    const from = inputAt + row * length;
    for (let i = 0; i < numHalf; i++) {
      const left = input[from + i] as number;
      const right = input[from + length - 1 - i] as number;
      half[i] = i === middle ? left : left + right;
      half[numHalf + i] = i === middle ? 0 : left - right;
    }
    for (let k = 0; k < length; k++) {
      const values = (k & 1) * numHalf;
      const line = k * numHalf;
      let sum = 0;
      for (let i = 0; i < numHalf; i++) sum += (half[values + i] as number) * (cosines[line + i] as number);
      output[outputAt + k * numRows + row] = sum;
    }
  }
}

function inverseRows(
  input: Float64Array,
  inputAt: number,
  output: Float64Array,
  outputAt: number,
  numRows: number,
  length: number,
  mirrored: Float64Array,
): void {
  const numHalf = Math.ceil(length / 2);
  const numPairs = length >> 1;
  for (let row = 0; row < numRows; row++) {
    const from = inputAt + row * length;
    for (let i = 0; i < numHalf; i++) {
      let even = 0;
      let odd = 0;
      let at = i * length;
      let k = from;
      for (let pair = 0; pair < numPairs; pair++, k += 2, at += 2) {
        even += (input[k] as number) * (mirrored[at] as number);
        odd += (input[k + 1] as number) * (mirrored[at + 1] as number);
      }
      if (length & 1) even += (input[k] as number) * (mirrored[at] as number);
      output[outputAt + i * numRows + row] = even + odd;
      if (length - 1 - i !== i) output[outputAt + (length - 1 - i) * numRows + row] = even - odd;
    }
  }
}

/** [N, M] -> [M, N] */
function transposed(matrix: Float64Array, numRows: number): Float64Array {
  const numColumns = matrix.length / numRows;
  const out = new Float64Array(matrix.length);
  for (let i = 0; i < numRows; i++) for (let j = 0; j < numColumns; j++) out[j * numRows + i] = matrix[i * numColumns + j] as number;
  return out;
}
