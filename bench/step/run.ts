/**
 * Runs one job with isoerg itself, in a process of its own: `node run.js FOLDER` writes a StepResult as one line of JSON. What
 * is timed is the training loop that trains for real, over a link of one worker.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import * as tf from "@tensorflow/tfjs-core";
import { toPixels } from "../../src/data/augment.js";
import { createPlan } from "../../src/data/plan.js";
import { pixelsOf } from "../../src/data/samples.js";
import { startEngine } from "../../src/engine/choose.js";
import { measurePeak } from "../../src/engine/peak.js";
import { createModel } from "../../src/model/create.js";
import { logSumExp } from "../../src/model/energy.js";
import { train } from "../../src/train/loop.js";
import { createSoloLink } from "../../src/train/solo-link.js";
import { jobFiles, type StepJob, type StepResult } from "./job.js";
import { countLaunches } from "./launches.js";

export async function runJob(folder: string): Promise<StepResult> {
  const job = JSON.parse(readFileSync(join(folder, "job.json"), "utf8")) as StepJob;
  const { config, numClasses, numSamples, warmupSteps, timedSteps } = job;
  const shape = { height: job.shape[0], width: job.shape[1], channels: job.shape[2] };
  const images = new Uint8Array(readFileSync(join(folder, jobFiles.images)));
  const labels = int32(readFileSync(join(folder, jobFiles.labels)));
  const engine = await startEngine(job);
  const startRssBytes = residentSet().now;
  const checkLoss = checkForward(job, folder, images, labels);

  const size = pixelsOf(shape);
  const endsMs: number[] = [];
  const partsMs: Record<string, number> = {};
  const numSteps = 1 + warmupSteps + timedSteps;
  let endCount: (() => number) | undefined;
  let opsPerStep: number | null = null;
  const link = createSoloLink({
    plan: createPlan({ numSamples, batchSize: config.data.batchSize, shuffleBlock: numSamples, seed: 1n }),
    numSteps,
    numChains: config.sampler.chains,
    read(ids) {
      const batch = new Uint8Array(ids.length * size);
      for (const [i, id] of ids.entries()) batch.set(images.subarray(id * size, (id + 1) * size), i * size);
      return { images: batch, labels: Int32Array.from(ids, (id) => labels[id] as number) };
    },
    onCommit(step, { phasesMs }) {
      endsMs.push(performance.now());
      // The second of the steps that don't count is counted in another sense: by what it launches.
      if (step === 0 && engine.name === "torch") endCount = countLaunches();
      if (step === 1 && endCount) opsPerStep = endCount();
      if (step <= warmupSteps) return;
      for (const [part, ms] of Object.entries(phasesMs)) partsMs[part] = (partsMs[part] ?? 0) + ms / timedSteps;
    },
  });
  const stop = train({ config, data: { shape, numClasses, numSamples }, gaussians: null, link });
  if (stop.outcome !== "finished") throw new Error(stop.reason);

  const stepMs = endsMs.slice(-timedSteps).map((end, i) => end - (endsMs[endsMs.length - timedSteps + i - 1] as number));
  const meanMs = stepMs.reduce((sum, ms) => sum + ms, 0) / timedSteps;
  // What lies between the phases: drawing the batch, and the vote and update told one step late.
  partsMs.other = meanMs - Object.values(partsMs).reduce((sum, ms) => sum + ms, 0);
  const memory = {
    startRssBytes,
    peakRssBytes: residentSet().peak,
    peakTensorBytes: engine.name === "torch" ? engine.memory().peakBytes : null,
  };
  const peakGflops = measurePeak({ precision: job.precision, budgetMs: 1000, nowMs: () => performance.now() });
  return { program: `isoerg, ${engine.name} (${engine.version})`, stepMs, partsMs, checkLoss, ...memory, opsPerStep, peakGflops };
}

/** Mean cross-entropy of the first samples at the check parameters. */
function checkForward({ config, shape, numClasses }: StepJob, folder: string, images: Uint8Array, labels: Int32Array): number {
  const numSamples = config.data.batchSize;
  const model = createModel(config.model, shape, numClasses);
  const parameters = tf.tensor1d(float32(readFileSync(join(folder, jobFiles.check))));
  const bound = model.bind(parameters, "fp32");
  const x = tf.tensor4d(toPixels(images.subarray(0, (images.length / labels.length) * numSamples)), [numSamples, ...shape]);
  const output = bound.logits(x);
  const logits = output.dataSync<"float32">() as Float32Array;
  bound.dispose();
  tf.dispose([parameters, x, output]);
  let sum = 0;
  for (let i = 0; i < numSamples; i++)
    sum += logSumExp(logits, i * numClasses, numClasses) - (logits[i * numClasses + (labels[i] as number)] as number);
  return sum / numSamples;
}

/**
 * Of this process. Not getrusage's figure: that one begins with the parent's at the moment it forked. Where the system has no such
 * file, its own.
 */
function residentSet(): { now: number; peak: number } {
  const status = existsSync("/proc/self/status") ? readFileSync("/proc/self/status", "utf8") : "";
  const kibibytes = (name: string): number | undefined => {
    const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1];
    return found === undefined ? undefined : 1024 * Number(found);
  };
  return { now: kibibytes("VmRSS") ?? process.memoryUsage.rss(), peak: kibibytes("VmHWM") ?? 1024 * process.resourceUsage().maxRSS };
}

const float32 = (bytes: Buffer): Float32Array => new Float32Array(new Uint8Array(bytes).buffer);
const int32 = (bytes: Buffer): Int32Array => new Int32Array(new Uint8Array(bytes).buffer);

const [, script, folder] = process.argv;
if (script !== undefined && folder !== undefined && import.meta.url === pathToFileURL(script).href) {
  process.stdout.write(`${JSON.stringify(await runJob(folder))}\n`);
}
