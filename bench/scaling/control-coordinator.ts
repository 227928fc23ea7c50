/**
 * A real coordinator in a process of its own, so that its processor time is its own: `fork`ed by control-plane.ts. Server, journal,
 * membership, votes, metrics and TensorBoard sink are those of `isoerg coordinator`; only the progress line is not drawn.
 */
import { hostname } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { createCheckpointStore } from "../../src/checkpoint/store.js";
import type { Config } from "../../src/config/schema.js";
import { createCoordinator } from "../../src/coordinator/coordinator.js";
import { openDataset } from "../../src/data/dataset.js";
import { createMemorySamples, type SampleSource } from "../../src/data/samples.js";
import { createTensorBoardSink } from "../../src/report/tensorboard.js";

export interface ControlTask {
  readonly config: Config;
  readonly workers: number;
  /** The first ones are not measured: sessions open, code is compiled. */
  readonly warmupSteps: number;
  readonly steps: number;
  readonly runFolder: string;
  /** Of the data set in the configuration; otherwise samples of one byte, as nobody reads them. */
  readonly samples: "real" | "none";
}

export type ControlReply =
  | { readonly kind: "listening"; readonly address: string }
  | {
      readonly kind: "measured";
      /** Of this process, from the end of the warm-up to the last step. */
      readonly cpuMs: number;
      readonly wallMs: number;
      readonly steps: number;
      readonly peakRssBytes: number;
    }
  | { readonly kind: "failed"; readonly reason: string };

export async function lead(task: ControlTask, reply: (message: ControlReply) => void): Promise<void> {
  const { config, workers, warmupSteps, steps, runFolder, samples } = task;
  const source: SampleSource & Partial<AsyncDisposable> =
    samples === "real" ? await openDataset(config.data.path, "train") : oneByteSamples(1 << 20);
  const log = pino({ base: { pid: process.pid } }, pino.destination({ dest: join(runFolder, "coordinator.jsonl"), sync: true }));
  const coordinator = await createCoordinator({
    config,
    source,
    manifest: { name: "none" },
    runFolder,
    store: createCheckpointStore(join(runFolder, "checkpoints"), { keepLast: 1, onDelete: () => {} }),
    workers,
    minWorkers: workers,
    resume: false,
    log,
    sinks: [await createTensorBoardSink(runFolder, { now: () => new Date(), host: hostname() })],
    timeouts: { joinMs: 300_000, rejoinMs: 0, silenceMs: 60_000 },
  });
  let begun: { cpu: NodeJS.CpuUsage; at: number } | undefined;
  let done = false;
  coordinator.events.on("event", (event) => {
    if (event.kind !== "commit" || done) return;
    if (event.step === warmupSteps - 1) begun = { cpu: process.cpuUsage(), at: performance.now() };
    if (event.step !== warmupSteps + steps - 1 || !begun) return;
    done = true;
    const { user, system } = process.cpuUsage(begun.cpu);
    reply({
      kind: "measured",
      cpuMs: (user + system) / 1000,
      wallMs: performance.now() - begun.at,
      steps,
      peakRssBytes: 1024 * process.resourceUsage().maxRSS,
    });
    coordinator.abort("the measurement is done"); // so no worker has to bring a checkpoint
  });
  reply({ kind: "listening", address: coordinator.address });
  const outcome = await coordinator.finished;
  await source[Symbol.asyncDispose]?.();
  if (!done) reply({ kind: "failed", reason: outcome.reason });
}

function oneByteSamples(numSamples: number): SampleSource {
  return createMemorySamples({
    shape: { height: 1, width: 1, channels: 1 },
    numClasses: 2,
    samples: { images: new Uint8Array(numSamples), labels: new Int32Array(numSamples) },
  });
}

if (process.send) {
  process.once("message", (task: ControlTask) => {
    lead(task, (message) => process.send?.(message))
      .catch((error: Error) => process.send?.({ kind: "failed", reason: error.message }))
      .finally(() => process.disconnect());
  });
}
