/**
 * Which settings of a study decide its metric: functional analysis of variance over a random forest (Hutter, Hoos & Leyton-Brown, ICML
 * 2014). The share of a setting is the part of the metric's variance over the whole space that it makes by itself, every other
 * setting averaged out; that of a pair is what the two make together beyond both.
 *
 * Few trials teach a forest little, and a forest that knows nothing still gives shares. So each share has its range over the
 * trees, which differ by the trials they saw, and a bar that it has to pass: the 95th percentile of the shares that it gets when
 * its values are dealt out to the trials at random, all others left in place (Breiman 2001; as a test of significance Altmann, Toloşi,
 * Sander & Lengauer, "Permutation importance", Bioinformatics 2010).
 */
import { draws } from "../../engine/random/philox.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import { quantile, sorted } from "../../util/quantile.js";
import { type Point, type Space, unitOf } from "../space.js";
import { growForest } from "./forest.js";
import { type Marginal, valueAt, varianceOf } from "./variance.js";

export interface Judged {
  readonly point: Point;
  readonly value: number;
}

export interface Share {
  /** Mean over the trees, of 1. */
  readonly share: number;
  /** The 10th and the 90th percentile over the trees. */
  readonly low: number;
  readonly high: number;
}

export interface SettingImportance extends Share {
  readonly path: string;
  /** What chance alone stays below 95 times of 100. */
  readonly chance: number;
  /** The forest's mean of the metric at places of the axis in [0,1], every other setting averaged out, with its range over the trees. */
  readonly effect: readonly { readonly u: number; readonly mean: number; readonly low: number; readonly high: number }[];
}

export interface Importance {
  readonly numTrials: number;
  readonly outOfBagR2: number | null;
  /** In the order of the space. */
  readonly settings: readonly SettingImportance[];
  /** The largest first. */
  readonly pairs: readonly (Share & { readonly paths: readonly [string, string] })[];
}

export type ImportanceAnswer = ({ readonly kind: "told" } & Importance) | { readonly kind: "untold"; readonly reason: string };

/** Fewer trials than these teach nothing that could be told from chance. */
export const MIN_TRIALS = 8;
const NUM_TREES = 64;
const NUM_SHUFFLES = 40;
/** Trees for each shuffle: few are enough, and fewer where trials are many and each tree takes longer. */
const SHUFFLED_TREES = 16;
const SHUFFLED_ROWS = 600;
/** No tree has this number. */
const SHUFFLE_POSITION = 0xffff;
const MIN_LEAF = 2;
const PLACES = 48;

export function importanceOf(space: Space, judged: readonly Judged[], { seed }: { seed: bigint }): ImportanceAnswer {
  if (judged.length < MIN_TRIALS)
    return { kind: "untold", reason: `${judged.length} trials have a value, and it takes ${MIN_TRIALS} to tell` };
  const values = judged.map(({ value }) => value);
  if (new Set(values).size < 2) return { kind: "untold", reason: "all trials have the same value" };
  const points = judged.map(({ point }) => unitOf(space, point));
  const parts = space.map(partsOf);
  const forest = growForest(points, values, { seed, parts, numTrees: NUM_TREES, minLeaf: MIN_LEAF, stream: 0 });
  const variances = forest.trees.map((tree) => varianceOf(tree, { pairs: "with" })).filter(({ total }) => total > 0);
  if (variances.length === 0) return { kind: "untold", reason: "no tree of the forest found a difference" };
  const settings = space.map(({ path }, axis): SettingImportance => {
    const shares = variances.map(({ single, total }) => (single[axis] as number) / total);
    return {
      path,
      ...shareOf(shares),
      chance: percentile(sharesByChance(points, values, axis, { seed, parts }), 0.95),
      effect: effectOf(
        variances.map(({ marginals }) => marginals[axis] as Marginal),
        parts[axis] ?? null,
      ),
    };
  });
  const pairs = space
    .flatMap(({ path }, i) =>
      space.slice(i + 1).map((other, j) => ({
        paths: [path, other.path] as const,
        ...shareOf(variances.map(({ pairs: all, total }) => (all[i]?.[j] as number) / total)),
      })),
    )
    .sort((a, b) => b.share - a.share);
  return { kind: "told", numTrials: judged.length, outOfBagR2: forest.outOfBagR2, settings, pairs };
}

/** Of how many equal parts an axis of the cube is made; null where it is continuous. */
function partsOf({ domain }: Space[number]): number | null {
  if (domain.kind === "choice") return domain.values.length;
  return domain.kind === "int" ? domain.high - domain.low + 1 : null;
}

/** The shares of one axis in forests for which its coordinates were dealt out to the trials at random; all else is as it was. */
function sharesByChance(
  points: readonly (readonly number[])[],
  values: readonly number[],
  axis: number,
  { seed, parts }: { seed: bigint; parts: readonly (number | null)[] },
): number[] {
  const numTrees = Math.max(2, Math.min(SHUFFLED_TREES, Math.round(SHUFFLED_ROWS / points.length)));
  return Array.from({ length: NUM_SHUFFLES }, (_, shuffle) => {
    const stream = 1 + axis * NUM_SHUFFLES + shuffle;
    const draw = draws({ seed, purpose: PURPOSE.importance, step: stream, position: SHUFFLE_POSITION });
    const dealt = points.map((point) => point[axis] as number);
    for (let i = dealt.length - 1; i > 0; i--) {
      const j = draw.below(i + 1);
      [dealt[i], dealt[j]] = [dealt[j] as number, dealt[i] as number];
    }
    const shuffled = points.map((point, row) => point.with(axis, dealt[row] as number));
    const { trees } = growForest(shuffled, values, { seed, parts, numTrees, minLeaf: MIN_LEAF, stream });
    const told = trees.map((tree) => varianceOf(tree, { pairs: "without" })).filter(({ total }) => total > 0);
    return mean(told.map(({ single, total }) => (single[axis] as number) / total));
  });
}

function effectOf(marginals: readonly Marginal[], parts: number | null): SettingImportance["effect"] {
  const places = parts === null ? PLACES : Math.min(parts, PLACES);
  return Array.from({ length: places }, (_, i) => {
    const u = (i + 0.5) / places;
    const values = marginals.map((marginal) => valueAt(marginal, u));
    return { u, mean: mean(values), low: percentile(values, 0.1), high: percentile(values, 0.9) };
  });
}

function shareOf(shares: readonly number[]): Share {
  return { share: mean(shares), low: percentile(shares, 0.1), high: percentile(shares, 0.9) };
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function percentile(values: readonly number[], share: number): number {
  return quantile(sorted(values), share);
}
