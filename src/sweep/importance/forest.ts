/**
 * A random forest (Breiman, "Random forests", Machine Learning 2001) over the unit cube: trees on bootstrap samples of the rows. How
 * much it has learnt is told by rows that a tree has not seen. What is drawn is a function of (seed, tree).
 */
import { draws } from "../../engine/random/philox.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import { growTree, predict, type Tree, type TreeOptions } from "./tree.js";

export interface ForestOptions extends Omit<TreeOptions, "axesTried"> {
  readonly seed: bigint;
  readonly numTrees: number;
  /** Tells forests of one seed apart. */
  readonly stream: number;
}

export interface Forest {
  readonly trees: readonly Tree[];
  /**
   * R^2 = 1 - (squared error) / (squared distance to the mean) over rows, each foretold by the trees that have not seen it. 1 is perfect, 0
   * no better than the mean, below 0 worse. null where it can't be told.
   */
  readonly outOfBagR2: number | null;
}

/** Share of the axes tried for each split: as in the authors' own forests (SMAC). */
const AXES_SHARE = 5 / 6;

export function growForest(points: readonly (readonly number[])[], values: readonly number[], options: ForestOptions): Forest {
  const n = points.length;
  const axesTried = Math.max(1, Math.round(AXES_SHARE * options.parts.length));
  const foretold = values.map(() => ({ sum: 0, count: 0 }));
  const trees: Tree[] = [];
  for (let tree = 0; tree < options.numTrees; tree++) {
    const draw = draws({ seed: options.seed, purpose: PURPOSE.importance, step: options.stream, position: tree });
    const rows = Array.from({ length: n }, () => draw.below(n));
    const grown = growTree(points, values, rows, draw, { ...options, axesTried });
    const seen = new Set(rows);
    for (const [row, told] of foretold.entries()) {
      if (seen.has(row)) continue;
      told.sum += predict(grown, points[row] as readonly number[]);
      told.count++;
    }
    trees.push(grown);
  }
  return { trees, outOfBagR2: rSquared(values, foretold) };
}

function rSquared(values: readonly number[], foretold: readonly { readonly sum: number; readonly count: number }[]): number | null {
  const told = values.flatMap((value, row) => {
    const { sum, count } = foretold[row] as { sum: number; count: number };
    return count === 0 ? [] : [{ value, guess: sum / count }];
  });
  if (told.length < 2) return null;
  const mean = told.reduce((sum, { value }) => sum + value, 0) / told.length;
  const spread = told.reduce((sum, { value }) => sum + (value - mean) ** 2, 0);
  if (spread === 0) return null;
  return 1 - told.reduce((sum, { value, guess }) => sum + (value - guess) ** 2, 0) / spread;
}
