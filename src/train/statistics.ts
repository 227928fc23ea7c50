/**
 * The running statistics of norms over groups of samples, in a training: which passes take them, which samples they follow, and
 * how they are kept apart from what the optimizer moves.
 *
 * In the gradient's place they have what is to be taken from them (`Parameter.statistic`). It travels with the gradient to the sum
 * over all workers; then it is taken out, before the gradient's norm, weight perturbation and the optimizer see it.
 */
import type { Config, ModelConfig } from "../config/schema.js";
import { type BatchPart, RUNNING, type StatisticsPolicy } from "../model/group-statistics.js";
import type { Model } from "../model/model.js";
import type { ViewName } from "../objective/view.js";
import { IsoergError } from "../util/error.js";
import type { Range } from "../util/range.js";
import type { Samples } from "./views/maker.js";

type GhostBatchNorm = Extract<Extract<ModelConfig, { kind: "convnet" }>["norm"], { kind: "ghost-batch" }>;

/** The probes and neighbours of smoothness terms are no samples of anything: they never move the statistics. */
const FOLLOWED: Readonly<Record<GhostBatchNorm["statisticsFrom"], ReadonlySet<ViewName>>> = {
  all: new Set(["clean", "natural", "adversarial", "generated"]),
  clean: new Set(["clean", "natural"]),
  adversarial: new Set(["adversarial"]),
};

/** null where samples are apart. */
function normOf(model: ModelConfig): GhostBatchNorm | null {
  return "norm" in model && model.norm.kind === "ghost-batch" ? model.norm : null;
}

function isFrozen({ frozenFrom }: GhostBatchNorm, progress: number): boolean {
  return frozenFrom !== null && progress >= frozenFrom;
}

/** Which statistics the passes of a step take: those through the network that attacks follow, and through the one that chains do. */
export function statisticsPolicy(model: ModelConfig, progress: number): Readonly<Record<"attack" | "sampling", StatisticsPolicy>> {
  const norm = normOf(model);
  if (!norm || isFrozen(norm, progress)) return { attack: RUNNING, sampling: RUNNING };
  return { attack: { inner: norm.attack, update: "group" }, sampling: { inner: norm.sampling, update: "group" } };
}

/** By how much a sample of each view pulls the running statistics; the views that are not named pull by 0. */
export function pullsOf(
  samples: ReadonlyMap<ViewName, Pick<Samples, "total">>,
  model: ModelConfig,
  progress: number,
): ReadonlyMap<ViewName, number> {
  const norm = normOf(model);
  if (!norm || isFrozen(norm, progress)) return new Map();
  const followed = [...samples].filter(([name]) => FOLLOWED[norm.statisticsFrom].has(name));
  const total = followed.reduce((sum, [, view]) => sum + view.total, 0);
  return new Map(followed.map(([name]) => [name, norm.momentum / total]));
}

/** The views' parts of the rows from..to of all views, one after the other. */
export function partsOf(
  samples: ReadonlyMap<ViewName, Pick<Samples, "x">>,
  pulls: ReadonlyMap<ViewName, number>,
  { from, to }: Range,
): BatchPart[] {
  const parts: BatchPart[] = [];
  let begin = 0;
  for (const [name, { x }] of samples) {
    const end = begin + x.shape[0];
    const rows = Math.min(to, end) - Math.max(from, begin);
    if (rows > 0) parts.push({ rows, share: pulls.get(name) ?? 0 });
    begin = end;
  }
  return parts;
}

/** Where the running statistics stand in the flat vector. */
export function statisticRanges({ parameters }: Pick<Model, "parameters">): Range[] {
  return parameters.filter(({ statistic }) => statistic).map(({ offset, size }) => ({ from: offset, to: offset + size }));
}

/**
 * What only the objective's views and the sampler's settings together can tell to be wrong.
 * @throws IsoergError CONFIG
 */
export function checkStatistics({ model, sampler }: Pick<Config, "model" | "sampler">, views: ReadonlySet<ViewName>): void {
  const norm = normOf(model);
  if (!norm) return;
  const { groupSize, statisticsFrom } = norm;
  if (views.has("generated") && sampler.chains % groupSize !== 0) {
    throw new IsoergError(
      "CONFIG",
      `sampler.chains is ${sampler.chains}, which is no multiple of the norm's groups of ${groupSize} samples`,
      {
        hint: `take ${Math.max(1, Math.round(sampler.chains / groupSize)) * groupSize}, or another model.norm.groupSize`,
      },
    );
  }
  if (statisticsFrom === "adversarial" && !views.has("adversarial")) {
    throw new IsoergError("CONFIG", "model.norm.statisticsFrom is adversarial, but no term of the objective reads adversarial images", {
      hint: "take clean or all, or give a term that reads them a weight",
    });
  }
}
