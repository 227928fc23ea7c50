/** Writes a job's folder: synthetic images that are smooth like photographs, labels, and two points in the space of parameters. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EngineOptions } from "../../src/engine/engine.js";
import type { Precision } from "../../src/engine/ops.js";
import { draws, fillNormal } from "../../src/engine/random/philox.js";
import { createModel } from "../../src/model/create.js";
import type { StepCase } from "./cases.js";
import { jobFiles, type StepJob } from "./job.js";

export interface JobOptions {
  readonly engine: EngineOptions["engine"];
  readonly device: string;
  readonly threads: number;
  readonly precision: Precision;
  readonly warmupSteps: number;
  readonly timedSteps: number;
}

const SHAPE = [32, 32, 3] as const;
const NUM_CLASSES = 10;
/** Purposes of random streams that no training uses. */
const IMAGES = 220;
const CHECK = 221;

export interface PreparedJob {
  readonly folder: string;
  readonly job: StepJob;
  readonly macsPerSample: number;
}

/** The folder is the caller's to remove. */
export function prepareJob({ config, repeat }: StepCase, options: JobOptions): PreparedJob {
  const folder = mkdtempSync(join(tmpdir(), "isoerg-bench-"));
  const model = createModel(config.model, SHAPE, NUM_CLASSES);
  const numSamples = 4 * config.data.batchSize;
  const job: StepJob = {
    config: { ...config, precision: { inner: options.precision, update: "fp32" } },
    ...options,
    warmupSteps: repeat * options.warmupSteps,
    timedSteps: repeat * options.timedSteps,
    shape: SHAPE,
    numClasses: NUM_CLASSES,
    numSamples,
    parameters: model.parameters.map(({ name, shape }) => ({ name, shape })),
  };
  const initial = model.initial(BigInt(config.seed));
  const noise = new Float32Array(initial.length);
  fillNormal(noise, { seed: 1n, purpose: CHECK, step: 0, position: 0 });
  const files = {
    [jobFiles.initial]: initial,
    [jobFiles.check]: initial.map((value, i) => value + 0.02 * (noise[i] as number)),
    [jobFiles.images]: smoothImages(numSamples),
    [jobFiles.labels]: Int32Array.from({ length: numSamples }, (_, i) => i % NUM_CLASSES),
  };
  for (const [name, { buffer, byteOffset, byteLength }] of Object.entries(files)) {
    writeFileSync(join(folder, name), new Uint8Array(buffer, byteOffset, byteLength));
  }
  writeFileSync(join(folder, "job.json"), JSON.stringify(job));
  return { folder, job, macsPerSample: model.macsPerSample };
}

/** uint8 [n,H,W,C]: a plane wave in each channel. */
function smoothImages(numSamples: number): Uint8Array {
  const [height, width, channels] = SHAPE;
  const images = new Uint8Array(numSamples * height * width * channels);
  let at = 0;
  for (let sample = 0; sample < numSamples; sample++) {
    const random = draws({ seed: 1n, purpose: IMAGES, step: 0, position: sample });
    const waves = Array.from({ length: channels }, () => [random.uniform() - 0.5, random.uniform() - 0.5, 7 * random.uniform()] as const);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        for (const [u, v, phase] of waves) images[at++] = Math.round(127.5 + 127 * Math.sin(u * x + v * y + phase));
      }
    }
  }
  return images;
}
