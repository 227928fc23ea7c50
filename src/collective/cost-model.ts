/**
 * How long a sum takes over a network, and so which algorithm is the fastest: pure, the same on every rank.
 *
 * The model is Hockney's with a term for adding: a message costs `latency` and `perValue` for each value that it carries, an
 * addition `perSum` a value (Thakur, Rabenseifner & Gropp 2005; Chan et al. 2007). For n values over P ranks:
 *
 *     whole     (P-1) (a + n b) + (P-1) n g                 every vector goes round the ring; all add all
 *     doubling  ceil(lg P) (a + n b + n g)                  partners at distance 1, 2, 4, ... exchange whole sums
 *     halving   2 ceil(lg P) a + (P-1)/P n (2 b + g)        recursive halving, then recursive doubling (Rabenseifner)
 *     ring      2 (P-1) a + (P-1)/P n 2 b                   reduce-scatter, then all-gather, round the ring
 *
 * The ring adds one chunk while the next is on its way, which hides its additions; the others don't.
 * With a number of ranks that is no power of two the ranks beyond it hand their vectors to a partner first and get the sum at the
 * end: two messages more of the whole vector, and one addition.
 */

export interface CostConstants {
  /** Microseconds from sending a short message to its being received. */
  readonly latencyUs: number;
  /** Nanoseconds for each float32 on its way. */
  readonly perValueNs: number;
  /** Nanoseconds for each float32 addition. */
  readonly perSumNs: number;
}

export type Algorithm = "whole" | "doubling" | "halving" | "ring";

export const ALGORITHMS: readonly Algorithm[] = ["whole", "doubling", "halving", "ring"];

/** Of the order of what ZeroMQ takes over loopback on 2 free cores (README.md); a fit on the machine itself is better. */
export const DEFAULT_COST: CostConstants = { latencyUs: 60, perValueNs: 2.5, perSumNs: 0.25 };

/** What each constant is multiplied by: the model is linear in them. */
export interface CostTerms {
  readonly messages: number;
  readonly values: number;
  readonly sums: number;
}

export function costTerms(algorithm: Algorithm, numValues: number, worldSize: number): CostTerms {
  const others = worldSize - 1;
  const rounds = Math.floor(Math.log2(worldSize));
  const core = 2 ** rounds;
  const isPower = core === worldSize;
  const outside = isPower ? { messages: 0, values: 0, sums: 0 } : { messages: 2, values: 2 * numValues, sums: numValues };
  switch (algorithm) {
    case "whole":
      return { messages: others, values: others * numValues, sums: others * numValues };
    case "doubling":
      return {
        messages: rounds + outside.messages,
        values: rounds * numValues + outside.values,
        sums: rounds * numValues + outside.sums,
      };
    case "halving": {
      const share = ((core - 1) / core) * numValues;
      return { messages: 2 * rounds + outside.messages, values: 2 * share + outside.values, sums: share + outside.sums };
    }
    case "ring": {
      return { messages: 2 * others, values: (2 * others * numValues) / worldSize, sums: 0 };
    }
    default:
      return algorithm satisfies never;
  }
}

/** Milliseconds. */
export function predictMs(algorithm: Algorithm, numValues: number, worldSize: number, constants: CostConstants): number {
  const { messages, values, sums } = costTerms(algorithm, numValues, worldSize);
  return (1000 * messages * constants.latencyUs + values * constants.perValueNs + sums * constants.perSumNs) / 1e6;
}

/** The fastest of those allowed; of equals the first. */
export function fastest(
  numValues: number,
  worldSize: number,
  { constants = DEFAULT_COST, among = ALGORITHMS }: { constants?: CostConstants; among?: readonly Algorithm[] } = {},
): Algorithm {
  let best: { algorithm: Algorithm; ms: number } | undefined;
  for (const algorithm of among) {
    const ms = predictMs(algorithm, numValues, worldSize, constants);
    if (best === undefined || ms < best.ms) best = { algorithm, ms };
  }
  return best?.algorithm ?? "ring";
}

export interface Timing {
  readonly algorithm: Algorithm;
  readonly numValues: number;
  readonly worldSize: number;
  readonly ms: number;
}

/**
 * The constants, none below zero, that come closest to these timings: least squares of the relative error, so that short sums
 * count as much as long ones. Every subset of constants held at zero is tried, which for three is the exact optimum.
 */
export function fitCost(timings: readonly Timing[]): CostConstants {
  const rows = timings.map(({ algorithm, numValues, worldSize, ms }) => {
    const { messages, values, sums } = costTerms(algorithm, numValues, worldSize);
    return [messages / 1e3 / ms, values / 1e6 / ms, sums / 1e6 / ms] as const;
  });
  let best: { constants: readonly number[]; error: number } | undefined;
  for (let free = 1; free < 8; free++) {
    const columns = [0, 1, 2].filter((column) => free & (1 << column));
    const solution = solve(
      columns.map((i) => columns.map((j) => rows.reduce((sum, row) => sum + (row[i] as number) * (row[j] as number), 0))),
      columns.map((i) => rows.reduce((sum, row) => sum + (row[i] as number), 0)),
    );
    if (solution === null || solution.some((value) => value < 0)) continue;
    const constants = [0, 0, 0];
    for (const [at, column] of columns.entries()) constants[column] = solution[at] as number;
    const error = rows.reduce((sum, row) => sum + (row.reduce((told, of, i) => told + of * (constants[i] as number), 0) - 1) ** 2, 0);
    if (best === undefined || error < best.error) best = { constants, error };
  }
  const [latencyUs = 0, perValueNs = 0, perSumNs = 0] = best?.constants ?? [];
  return { latencyUs, perValueNs, perSumNs };
}

/** Gaussian elimination with pivoting; null where the matrix is singular. */
export function solve(matrix: number[][], right: number[]): number[] | null {
  const size = right.length;
  const rows = matrix.map((row, i) => [...row, right[i] as number]);
  for (let column = 0; column < size; column++) {
    const pivot = rows
      .slice(column)
      .reduce((best, row, at) => (Math.abs(row[column] as number) > Math.abs(rows[best]?.[column] as number) ? column + at : best), column);
    [rows[column], rows[pivot]] = [rows[pivot] as number[], rows[column] as number[]];
    const top = rows[column] as number[];
    if (Math.abs(top[column] as number) < 1e-12 * Math.max(...matrix.flat().map(Math.abs))) return null;
    for (const [at, row] of rows.entries()) {
      if (at === column) continue;
      const factor = (row[column] as number) / (top[column] as number);
      for (let i = column; i <= size; i++) row[i] = (row[i] as number) - factor * (top[i] as number);
    }
  }
  return rows.map((row, i) => (row[size] as number) / (row[i] as number));
}
