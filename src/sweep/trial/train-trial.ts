/**
 * One training of a trial, in this process: the loop, the plan and the recipe are those of `isoerg train`, with one worker and
 * no coordinator. What it leaves is a run's folder (config.yaml, metrics.jsonl, checkpoints), so that every command for runs takes it.
 *
 * Learning rate and other schedules are those of the whole training, however short a rung is: a trial that is promoted goes
 * on as if it had never stopped. The stability guard is off, since a trial that goes astray is a result.
 */
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { HostTensor } from "../../checkpoint/safetensors.js";
import type { StatePart } from "../../checkpoint/state-part.js";
import { type CheckpointContent, type CheckpointFile, createCheckpointStore } from "../../checkpoint/store.js";
import { configToYaml } from "../../config/print.js";
import type { Config } from "../../config/schema.js";
import { createPlan, numSteps, stepsPerEpoch } from "../../data/plan.js";
import { pixelsOf } from "../../data/samples.js";
import type { Link } from "../../train/link.js";
import { train } from "../../train/loop.js";
import { createSoloLink } from "../../train/solo-link.js";
import type { Failure } from "../job.js";
import { openCurveLog } from "./curve-log.js";
import { samplesOf, type TrialData } from "./trial-data.js";

export interface TrialTraining {
  readonly config: Config;
  readonly data: TrialData;
  /** The run's folder; made when it is not there. */
  readonly folder: string;
  readonly fromEpochs: number;
  readonly toEpochs: number;
  /** The run's folder whose state after `fromEpochs` is gone on from: this one, or that of another trial. */
  readonly source: string;
  readonly onStep?: (step: number, total: number, metrics: Readonly<Record<string, number>>) => void;
}

export type TrainedTrial =
  | { readonly kind: "trained"; readonly step: number; readonly files: CheckpointContent["files"] }
  | { readonly kind: "failed"; readonly reason: string; readonly how: Failure };

/** Every rung's checkpoint stays: another trial may go on from it. */
const KEEP_ALL = { keepLast: Number.MAX_SAFE_INTEGER };

/** Trains to `toEpochs`, or finds that done. @throws IsoergError CHECKPOINT where the state to go on from can't be used. */
export async function trainTrial(trial: TrialTraining): Promise<TrainedTrial> {
  const { config, data, folder, fromEpochs, toEpochs } = trial;
  const { shape, numClasses, training } = data;
  const numSamples = training.labels.length;
  const sizes = { numSamples, batchSize: config.data.batchSize };
  const until = numSteps(sizes, toEpochs);
  const store = createCheckpointStore(join(folder, "checkpoints"), KEEP_ALL);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "config.yaml"), configToYaml({ ...config, data: { ...config.data, subset: numSamples } }));
  if (
    existsSync(join(folder, "checkpoints")) &&
    (await store.list()).some(({ step, condition }) => step === until && condition === "whole")
  ) {
    const { files } = await store.load(until);
    return { kind: "trained", step: until, files };
  }

  const from = numSteps(sizes, fromEpochs);
  const resume = fromEpochs > 0 ? await createCheckpointStore(join(trial.source, "checkpoints"), KEEP_ALL).load(from) : null;
  const size = pixelsOf(shape);
  let saved: readonly StatePart[] = [];
  const curve = openCurveLog(folder, {
    from,
    stepsPerEpoch: stepsPerEpoch(sizes),
    batchSize: sizes.batchSize,
    total: numSteps(sizes, config.epochs),
  });
  let how: Failure = "broke";
  const link = createSoloLink({
    plan: createPlan({ ...sizes, shuffleBlock: config.data.shuffleBlock, seed: BigInt(config.seed) }),
    numSteps: until,
    numChains: config.sampler.chains,
    read: (ids) => samplesOf(training, ids, size),
    ...(resume && { resume: { step: from, parts: partsOf(resume.files) } }),
    onCommit: (step, { metrics }) => {
      curve.committed(step, metrics);
      trial.onStep?.(step, until, metrics);
    },
    checkpointAfter: (step) => step === until - 1,
    onSave: (_step, parts) => {
      saved = parts.map((part) => ({ ...part, data: part.data.slice() }));
    },
  });
  const watched: Link = {
    ...link,
    vote(ballot) {
      if (ballot.fault === "non-finite") how = "diverged";
      link.vote(ballot);
    },
  };
  let stop: ReturnType<typeof train>;
  try {
    stop = train({ config, data: { shape, numClasses, numSamples }, gaussians: data.gaussians, link: watched });
  } finally {
    curve.close();
  }
  if (stop.outcome !== "finished") return { kind: "failed", reason: stop.reason, how };
  const files = filesOf(saved);
  await store.save(until, { files, state: { step: until, epoch: toEpochs, numSteps: numSteps(sizes, config.epochs), config } });
  return { kind: "trained", step: until, files };
}

function filesOf(parts: readonly StatePart[]): CheckpointContent["files"] {
  const tensorsOf = (file: CheckpointFile): Map<string, HostTensor> =>
    new Map(
      parts.filter((part) => part.file === file).map(({ tensor, dtype, shape, data }) => [tensor, { dtype, shape, data } as HostTensor]),
    );
  return { model: tensorsOf("model"), optimizer: tensorsOf("optimizer"), buffer: tensorsOf("buffer") };
}

function partsOf(files: CheckpointContent["files"]): StatePart[] {
  return (Object.entries(files) as [CheckpointFile, CheckpointContent["files"][CheckpointFile]][]).flatMap(([file, tensors]) =>
    [...tensors].map(([tensor, { dtype, shape, data }]) => ({ file, tensor, dtype, shape, row: 0, data }) as StatePart),
  );
}
