/** Figures of a method over its seeds: mean and standard deviation (over n - 1), and differences of methods, paired by seed. */
import type { CellFigures, CellResult } from "./results.js";

export interface Spread {
  readonly n: number;
  readonly mean: number;
  /** Over n - 1; 0 for one value. */
  readonly std: number;
}

export function spreadOf(values: readonly number[]): Spread {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const std = n > 1 ? Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1)) : 0;
  return { n, mean, std };
}

/** Student's t, one-sided 95 %, by degrees of freedom; the table of any textbook. */
const T_95 = [Number.POSITIVE_INFINITY, 6.314, 2.92, 2.353, 2.132, 2.015, 1.943, 1.895, 1.86, 1.833];

/** A difference over seeds with the one-sided 95 % bounds of its mean; infinite for one seed. */
export interface Difference extends Spread {
  readonly low: number;
  readonly high: number;
}

export function differenceOf(values: readonly number[]): Difference {
  const spread = spreadOf(values);
  const half = spread.n > 1 ? ((T_95[spread.n - 1] ?? 1.645) * spread.std) / Math.sqrt(spread.n) : Number.POSITIVE_INFINITY;
  return { ...spread, low: spread.mean - half, high: spread.mean + half };
}

/** Finished cells of one data set, by method and seed. */
export class Table {
  readonly #results: readonly CellResult[];

  constructor(results: readonly CellResult[]) {
    this.#results = results;
  }

  of(method: string): CellResult[] {
    return this.#results.filter((result) => result.method === method).sort((a, b) => a.seed - b.seed);
  }

  /** A figure of a method, seed by seed; failed cells are left out. */
  values(method: string, figure: (figures: CellFigures) => number | null): number[] {
    return this.of(method).flatMap(({ figures }) => {
      const value = figures && figure(figures);
      return value === null || value === undefined ? [] : [value];
    });
  }

  /** a - b for each seed that both have. */
  differences(a: string, b: string, figure: (figures: CellFigures) => number | null): number[] {
    return this.of(a).flatMap(({ seed, figures }) => {
      const other = this.of(b).find((result) => result.seed === seed)?.figures;
      const left = figures && figure(figures);
      const right = other && figure(other);
      return typeof left === "number" && typeof right === "number" ? [left - right] : [];
    });
  }
}
