/**
 * A run's folder as `isoerg train` leaves it, made in seconds: a small data set on disk, a real training over the solo link on
 * the engine that is started, its metrics, its checkpoint.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import type { HostTensor } from "../../src/checkpoint/safetensors.js";
import type { StatePart } from "../../src/checkpoint/state-part.js";
import { createCheckpointStore } from "../../src/checkpoint/store.js";
import { createPlan, numSteps } from "../../src/data/plan.js";
import { prepareDataset } from "../../src/data/prepare.js";
import { train } from "../../src/train/loop.js";
import { createSoloLink } from "../../src/train/solo-link.js";
import { NUM_CLASSES, SHAPE, smallConfig, smallSamples } from "./small-run.js";

export const CLASS_NAMES = ["red", "green", "blue"];

export interface TrainedRun {
  readonly runFolder: string;
  readonly dataFolder: string;
}

/** `folder` gets `data/` and `run/`. An engine must have been started. */
export async function trainSmallRun(
  folder: string,
  options: { overrides?: Record<string, unknown>; numTrain?: number; numTest?: number } = {},
): Promise<TrainedRun> {
  const { numTrain = 64, numTest = 30 } = options;
  const dataFolder = join(folder, "data");
  const runFolder = join(folder, "run");
  const all = smallSamples(numTrain + numTest);
  const size = SHAPE.height * SHAPE.width * SHAPE.channels;
  const part = (from: number, to: number) => ({ images: all.images.slice(from * size, to * size), labels: all.labels.slice(from, to) });
  await prepareDataset(
    {
      name: "coloured-noise",
      summary: "noise whose class shows in the brightness of a channel",
      shape: SHAPE,
      classes: CLASS_NAMES,
      numSamples: { train: numTrain, test: numTest },
      origins: [
        {
          id: "memory",
          obtain: async () => "",
          async *read() {
            yield { split: "train" as const, samples: part(0, numTrain) };
            yield { split: "test" as const, samples: part(numTrain, numTrain + numTest) };
          },
        },
      ],
    },
    { out: dataFolder, cacheFolder: join(folder, "cache") },
  );

  const base = smallConfig({
    evaluate: { samples: 20, generated: 12, freshSteps: 5, attack: { steps: 3, stepSize: "4/255" } },
    ...options.overrides,
  });
  const config = { ...base, data: { ...base.data, path: dataFolder } };
  mkdirSync(runFolder, { recursive: true });
  writeFileSync(join(runFolder, "config.yaml"), stringify(config));

  const sizes = { numSamples: numTrain, batchSize: config.data.batchSize };
  const totalSteps = numSteps(sizes, config.epochs);
  const lines: string[] = [];
  let saved: { step: number; parts: StatePart[] } | undefined;
  const link = createSoloLink({
    plan: createPlan({ ...sizes, shuffleBlock: config.data.shuffleBlock, seed: BigInt(config.seed) }),
    numSteps: totalSteps,
    numChains: config.sampler.chains,
    read: (ids) => ({
      images: Uint8Array.from(Array.from(ids).flatMap((id) => Array.from(all.images.subarray(id * size, (id + 1) * size)))),
      labels: Int32Array.from(ids, (id) => all.labels[id] as number),
    }),
    onCommit: (step, { metrics, phasesMs }) => {
      lines.push(
        JSON.stringify({
          step,
          epoch: ((step + 1) * sizes.batchSize) / numTrain,
          generation: 1,
          worldSize: 1,
          batchSize: sizes.batchSize,
          time: new Date(1_700_000_000_000 + step * 250).toISOString(),
          stepMs: 250,
          samplesPerSecond: 40,
          metrics,
          phasesMs: [phasesMs],
        }),
      );
    },
    checkpointAfter: (step) => step === totalSteps - 1,
    onSave: (step, parts) => {
      saved = { step, parts: parts.map((saved) => ({ ...saved, data: saved.data.slice() })) };
    },
  });
  const end = train({ config, data: { shape: SHAPE, numClasses: NUM_CLASSES, numSamples: numTrain }, gaussians: null, link });
  if (!saved) throw new Error(`the small run saved nothing: ${end.reason}`);
  const tensorsOf = (file: StatePart["file"]): Map<string, HostTensor> =>
    new Map(
      (saved as { parts: StatePart[] }).parts
        .filter((one) => one.file === file)
        .map(({ tensor, dtype, shape, data }): [string, HostTensor] => [tensor, { dtype, shape, data }]),
    );
  await createCheckpointStore(join(runFolder, "checkpoints"), { keepLast: 3 }).save(saved.step, {
    files: { model: tensorsOf("model"), optimizer: tensorsOf("optimizer"), buffer: tensorsOf("buffer") },
    state: { step: saved.step },
  });
  writeFileSync(join(runFolder, "metrics.jsonl"), `${lines.join("\n")}\n`);
  return { runFolder, dataFolder };
}
