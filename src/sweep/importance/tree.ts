/**
 * A regression tree over the unit cube (Breiman, Friedman, Olshen & Stone, "Classification and regression trees", 1984), as the boxes
 * of its leaves: they cover the cube without overlap, and each has one value. That is the form in which its variance can be
 * taken apart exactly (`variance.ts`).
 *
 * Grown by itself on all rows it is the plain CART; `axesTried` below the number of axes makes it a member of a random forest.
 */
import type { Draws } from "../../engine/random/philox.js";

/** [low, high) on each axis. */
export interface Leaf {
  readonly low: readonly number[];
  readonly high: readonly number[];
  readonly value: number;
}

export type Tree = readonly Leaf[];

export interface TreeOptions {
  /** Axes looked at for each split, drawn anew; all of them where none of these can be split. */
  readonly axesTried: number;
  /** Rows that a leaf has at least. */
  readonly minLeaf: number;
  /** For an axis of n equal parts: n, and splits fall between parts. null for a continuous one. */
  readonly parts: readonly (number | null)[];
}

/** @param points [n][d] in [0,1] @param values [n] @param rows which of them it learns from; one may come more than once */
export function growTree(
  points: readonly (readonly number[])[],
  values: readonly number[],
  rows: readonly number[],
  draw: Draws,
  options: TreeOptions,
): Tree {
  const numAxes = options.parts.length;
  const columns = options.parts.map((_, axis) => Float64Array.from(points, (point) => point[axis] as number));
  const leaves: Leaf[] = [];
  const grow = (own: readonly number[], low: readonly number[], high: readonly number[]): void => {
    const split = bestSplit(columns, values, own, draw, options);
    if (!split) {
      leaves.push({ low, high, value: mean(own.map((row) => values[row] as number)) });
      return;
    }
    const { axis, at } = split;
    const column = columns[axis] as Float64Array;
    const isBelow = (row: number): boolean => (column[row] as number) < at;
    grow(own.filter(isBelow), low, replaced(high, axis, at));
    grow(
      own.filter((row) => !isBelow(row)),
      replaced(low, axis, at),
      high,
    );
  };
  grow(rows, new Array<number>(numAxes).fill(0), new Array<number>(numAxes).fill(1));
  return leaves;
}

/** The value at a point; the upper faces of the cube belong to it. */
export function predict(tree: Tree, point: readonly number[]): number {
  const inside = ({ low, high }: Leaf): boolean =>
    point.every((u, axis) => u >= (low[axis] as number) && (u < (high[axis] as number) || high[axis] === 1));
  return (tree.find(inside) as Leaf).value;
}

interface Split {
  readonly axis: number;
  readonly at: number;
}

/** The split that takes most off the sum of squares, or undefined where none does. @param columns by axis, the coordinates of all points */
function bestSplit(
  columns: readonly Float64Array[],
  values: readonly number[],
  rows: readonly number[],
  draw: Draws,
  { axesTried, minLeaf, parts }: TreeOptions,
): Split | undefined {
  if (rows.length < 2 * minLeaf) return undefined;
  const axes = shuffled(parts.length, draw);
  const first = values[rows[0] as number] as number;
  if (rows.every((row) => values[row] === first)) return undefined;
  const middle = mean(rows.map((row) => values[row] as number));
  let best: (Split & { readonly gain: number }) | undefined;
  for (const [tried, axis] of axes.entries()) {
    if (tried >= axesTried && best) break;
    const column = columns[axis] as Float64Array;
    const order = [...rows].sort((a, b) => (column[a] as number) - (column[b] as number));
    let below = 0;
    for (let i = 1; i < order.length; i++) {
      const [last, row] = [order[i - 1] as number, order[i] as number];
      below += (values[last] as number) - middle;
      const [left, right] = [column[last] as number, column[row] as number];
      if (left === right || i < minLeaf || order.length - i < minLeaf) continue;
      // What the cut takes off sum (y - mean)^2; the other side's deviations are the negative of this one's.
      const gain = (below ** 2 * order.length) / (i * (order.length - i));
      if (gain > (best?.gain ?? 0)) best = { axis, at: between(left, right, parts[axis] ?? null), gain };
    }
  }
  return best;
}

function between(left: number, right: number, parts: number | null): number {
  const middle = (left + right) / 2;
  if (parts !== null) return Math.round(middle * parts) / parts;
  return middle > left ? middle : right; // there may be no number between two neighbours
}

/** Fisher and Yates. */
function shuffled(count: number, draw: Draws): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = draw.below(i + 1);
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  return order;
}

function replaced(values: readonly number[], index: number, value: number): number[] {
  return values.with(index, value);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
