/**
 * The functional analysis of variance of a tree (Hutter, Hoos & Leyton-Brown, "An efficient approach for assessing hyperparameter
 * importance", ICML 2014). A function on the unit cube is a sum of parts, each of a set U of axes only and each with mean 0 over
 * every one of its axes:
 *
 *   f(u) = sum_U f_U(u_U),   a_U(u_U) = mean of f over the other axes = sum of f_W over all W within U
 *   V = sum_U V_U,           V_U = variance of f_U
 *
 * For a tree both are sums over boxes, so nothing is sampled: a_i is constant between the edges of leaves on axis i, a_ij on the
 * rectangles that the edges of both axes make. The share of a set of axes is V_U / V.
 */
import type { Leaf, Tree } from "./tree.js";

/** A function of one axis: `values[k]` from `edges[k]` to `edges[k + 1]`. */
export interface Marginal {
  readonly edges: readonly number[];
  readonly values: readonly number[];
}

export interface TreeVariance {
  readonly mean: number;
  readonly total: number;
  /** V_i by axis. */
  readonly single: readonly number[];
  /** V_ij by i and j - i - 1. */
  readonly pairs: readonly (readonly number[])[];
  readonly marginals: readonly Marginal[];
}

export function varianceOf(tree: Tree, options: { pairs: "with" | "without" }): TreeVariance {
  const numAxes = tree[0]?.low.length ?? 0;
  const volumes = tree.map((leaf) => extent(leaf));
  const mean = tree.reduce((sum, { value }, i) => sum + (volumes[i] as number) * value, 0);
  const total = tree.reduce((sum, { value }, i) => sum + (volumes[i] as number) * (value - mean) ** 2, 0);
  const axes = Array.from({ length: numAxes }, (_, axis) => axis);
  const marginals = axes.map((axis) => marginalOf(tree, axis));
  const single = marginals.map(({ edges, values }) => values.reduce((sum, value, k) => sum + widthAt(edges, k) * (value - mean) ** 2, 0));
  const pairs = options.pairs === "without" ? [] : axes.map((i) => axes.slice(i + 1).map((j) => pairVariance(tree, mean, marginals, i, j)));
  return { mean, total, single, pairs, marginals };
}

/** The product of a leaf's widths on all axes but two. Not its volume over theirs: a width may be too small to divide by. */
function extent({ low, high }: Leaf, i = -1, j = -1): number {
  let product = 1;
  for (let axis = 0; axis < low.length; axis++) {
    if (axis !== i && axis !== j) product *= (high[axis] as number) - (low[axis] as number);
  }
  return product;
}

function marginalOf(tree: Tree, axis: number): Marginal {
  const edges = edgesOf(tree, axis);
  const at = indexOf(edges);
  // What begins and ends at each edge; sums of these from the left are the values.
  const changes = new Float64Array(edges.length);
  for (const leaf of tree) {
    const [from, to] = [leaf.low[axis] as number, leaf.high[axis] as number];
    const height = extent(leaf, axis) * leaf.value;
    changes[at(from)] = (changes[at(from)] as number) + height;
    changes[at(to)] = (changes[at(to)] as number) - height;
  }
  let sum = 0;
  return { edges, values: Array.from(changes.subarray(0, -1), (change) => (sum += change)) };
}

function pairVariance(tree: Tree, mean: number, marginals: readonly Marginal[], i: number, j: number): number {
  const [a, b] = [marginals[i], marginals[j]] as [Marginal, Marginal];
  const [atA, atB] = [indexOf(a.edges), indexOf(b.edges)];
  const columns = b.edges.length;
  const changes = new Float64Array(a.edges.length * columns);
  const change = (row: number, column: number, by: number): void => {
    changes[row * columns + column] = (changes[row * columns + column] as number) + by;
  };
  for (const leaf of tree) {
    const [fromA, toA] = [leaf.low[i] as number, leaf.high[i] as number];
    const [fromB, toB] = [leaf.low[j] as number, leaf.high[j] as number];
    const height = extent(leaf, i, j) * leaf.value;
    change(atA(fromA), atB(fromB), height);
    change(atA(toA), atB(fromB), -height);
    change(atA(fromA), atB(toB), -height);
    change(atA(toA), atB(toB), height);
  }
  // Summed along columns, then along rows: the heights of a_ij.
  let variance = 0;
  const above = new Float64Array(columns);
  for (let row = 0; row < a.values.length; row++) {
    let along = 0;
    for (let column = 0; column < b.values.length; column++) {
      along += changes[row * columns + column] as number;
      above[column] = (above[column] as number) + along;
      const part = (above[column] as number) - (a.values[row] as number) - (b.values[column] as number) + mean;
      variance += widthAt(a.edges, row) * widthAt(b.edges, column) * part ** 2;
    }
  }
  return variance;
}

function edgesOf(tree: Tree, axis: number): number[] {
  return [...new Set(tree.flatMap(({ low, high }) => [low[axis] as number, high[axis] as number]))].sort((a, b) => a - b);
}

function indexOf(edges: readonly number[]): (edge: number) => number {
  const places = new Map(edges.map((edge, i) => [edge, i]));
  return (edge) => places.get(edge) as number;
}

function widthAt(edges: readonly number[], k: number): number {
  return (edges[k + 1] as number) - (edges[k] as number);
}

/** A marginal at a place. */
export function valueAt({ edges, values }: Marginal, u: number): number {
  const k = edges.findLastIndex((edge) => edge <= u);
  return values[Math.max(0, Math.min(values.length - 1, k))] as number;
}
