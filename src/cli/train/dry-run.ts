/**
 * What a run would be, and its first steps: the whole global batch, computed alone in this process over the same plan and
 * the same loop. Nothing is written.
 */
import { join } from "node:path";
import { groupSizeOf } from "../../config/group-size.js";
import type { Config } from "../../config/schema.js";
import { decodeClassGaussians } from "../../data/class-gaussians.js";
import { openDataset } from "../../data/dataset.js";
import { readRecorded } from "../../data/files.js";
import { createPlan, slice, numSteps as stepsOf } from "../../data/plan.js";
import { startEngine } from "../../engine/choose.js";
import type { EngineOptions } from "../../engine/engine.js";
import { createModel } from "../../model/create.js";
import { createObjective } from "../../objective/objective.js";
import type { Ballot } from "../../train/link.js";
import { train } from "../../train/loop.js";
import { createSoloLink } from "../../train/solo-link.js";
import { describeSeconds } from "../../util/duration.js";
import { IsoergError } from "../../util/error.js";
import { estimateMemory, layoutFactors } from "./memory-estimate.js";

export interface DryRunOptions {
  readonly config: Config;
  readonly workers: number;
  readonly engine: EngineOptions;
}

/** @returns the text for people. @throws IsoergError when the step could not be computed. */
export async function dryRun({ config, workers, engine: engineOptions }: DryRunOptions): Promise<string> {
  await using source = await openDataset(config.data.path, "train", { subset: config.data.subset });
  const { manifest, numSamples, shape, numClasses } = source;
  const plan = createPlan({
    numSamples,
    shuffleBlock: config.data.shuffleBlock,
    batchSize: config.data.batchSize,
    seed: BigInt(config.seed),
  });
  const numSteps = stepsOf(plan.options, config.epochs);
  const first = await source.read(plan.batchOf(0).ids);
  const { classGaussians } = manifest;
  const gaussians = decodeClassGaussians(
    await readRecorded(join(config.data.path, classGaussians.file), classGaussians, { verify: true }),
    {
      shape,
      numClasses,
      ...classGaussians,
    },
  );
  const engine = await startEngine(engineOptions);
  const estimate = estimateMemory({
    config,
    model: createModel(config.model, [shape.height, shape.width, shape.channels], numClasses),
    views: createObjective(config.objective).views,
    samples: config.data.batchSize,
    chains: config.sampler.chains,
    bf16: engine.bf16.supported,
    layoutFactors: layoutFactors(engine),
  });
  const ballots: Ballot[] = [];
  // The first steps compile kernels and fault memory in; the last one is what all others cost.
  const warmSteps = Math.min(3, numSteps);
  let since = performance.now();
  let stepMs = 0;
  const link = createSoloLink({
    plan,
    numSteps: warmSteps,
    numChains: config.sampler.chains,
    read: () => first,
    onCommit(_step, ballot) {
      ballots.push(ballot);
      stepMs = performance.now() - since;
      since = performance.now();
    },
  });
  const stop = train({ config, data: { shape, numClasses, numSamples }, gaussians, link });
  const ballot = ballots.at(-1);
  if (stop.outcome !== "finished" || !ballot) throw new IsoergError("ENGINE", `the first step could not be computed: ${stop.reason}`);

  const weights = Array.from({ length: workers }, () => 1);
  const sizes = (total: number): string => {
    const each = weights.map((_, rank) => slice(total, rank, weights, groupSizeOf(config.model))).map(({ from, to }) => to - from);
    return workers === 1 ? String(total) : `${total} (${each.join(" + ")})`;
  };
  const { peakBytes } = engine.memory();
  // The other engines keep no account of their tensors: theirs is the whole process.
  const measured =
    engine.name === "torch" ? `measured ${mebibytes(peakBytes)}` : `measured ${mebibytes(peakBytes)} with the program itself`;
  const { parts } = estimate;
  return listing([
    ["data set", `${manifest.name}, ${numSamples} samples of ${shape.height} x ${shape.width} x ${shape.channels}, ${numClasses} classes`],
    ["steps", `${numSteps} (${config.epochs} epochs of ${plan.stepsPerEpoch})`],
    ["samples a step", sizes(config.data.batchSize)],
    ["chains a step", `${sizes(config.sampler.chains)}, buffer of ${config.sampler.bufferSize}`],
    [
      "checkpoints",
      `${config.checkpoint.interval === "auto" ? "as often as loses least," : `every ${config.checkpoint.everySteps} steps`} and at the end`,
    ],
    [
      "engine",
      `${engine.name} (${engine.version}), ${engine.device}, ${engine.threads} thread${engine.threads === 1 ? "" : "s"}: ${engine.why}`,
    ],
    ["one step, whole batch, here", `${(stepMs / 1000).toFixed(2)} s, ${warmSteps === 1 ? "the first one" : `the last of ${warmSteps}`}`],
    [
      "    phases, ms",
      Object.entries(ballot.phasesMs)
        .map(([name, ms]) => `${name} ${ms.toFixed(0)}`)
        .join("  "),
    ],
    ["    tensors at most", `estimated ${mebibytes(estimate.peakBytes)}, ${measured}`],
    [
      "    of the estimate",
      `parameters ${mebibytes(parts.parametersBytes)}  images ${mebibytes(parts.imagesBytes)}  update ${mebibytes(parts.updateBytes)} or attack and sampling ${mebibytes(parts.innerBytes)} or optimizer ${mebibytes(parts.optimizerBytes)}`,
    ],
    ["    buffer and gradient", `${mebibytes(estimate.hostBytes)} of the host's memory`],
    [
      "    figures",
      Object.entries(ballot.metrics)
        .map(([name, value]) => `${name} ${value.toPrecision(4)}`)
        .join("  "),
    ],
    ["all steps at that speed", `${describeSeconds((numSteps * stepMs) / 1000)} in one process`],
  ]);
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function listing(rows: readonly (readonly [label: string, value: string])[]): string {
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, value]) => `${label.padEnd(width)}  ${value}\n`).join("");
}
