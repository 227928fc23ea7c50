/** `isoerg monitor`: whether new data still look to a deployed model as they did when it was analysed. */
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { createMemorySamples } from "../data/samples.js";
import { startEngine } from "../engine/choose.js";
import { decisions } from "../evaluate/analysis/sets.js";
import type { InputOptions } from "../evaluate/foreign/input.js";
import { type Block, inBatches, incoming } from "../evaluate/monitor/incoming.js";
import { type BatchRecord, createMonitor, SMALLEST_BATCH } from "../evaluate/monitor/monitor.js";
import { type EnergyReference, REFERENCE_FILE, readReference } from "../evaluate/monitor/reference.js";
import { uniformNoise } from "../evaluate/ood/probes.js";
import { type OpenedClassifier, openClassifier, recogniseClassifier } from "../evaluate/open-classifier.js";
import { logitsOf } from "../evaluate/passes.js";
import type { WeightsKind } from "../evaluate/weights.js";
import { energies } from "../model/energy.js";
import { type MonitorTotals, monitorMetrics } from "../report/monitor-metrics.js";
import { IsoergError } from "../util/error.js";
import { addInputOptions, type InputFlags, inputOptionsOf } from "./analyze/input-flags.js";
import { addEngineOptions, type EngineFlags } from "./engine-options.js";
import { parseWeights } from "./evaluate.js";
import { interruptible } from "./interruptible.js";
import { parseCount, parsePositive } from "./numbers.js";
import { serveMetricsText } from "./train/metrics-endpoint.js";

interface Flags extends EngineFlags, InputFlags {
  readonly reference?: string;
  readonly batch: number;
  readonly falseAlarms: number;
  readonly prometheus?: string;
  readonly metrics?: string;
  readonly follow?: number;
  readonly fail: boolean;
  readonly weights: WeightsKind | "auto";
  readonly batchSize: number;
}

export function monitorCommand(): Command {
  const command = new Command("monitor")
    .description("Watch new data for drift: their energies against the model's reference.")
    .argument("<model>", "a run's folder or checkpoint, an export (.safetensors), or a TensorFlow.js model")
    .argument(
      "<data...>",
      "new images: .png, .npy and .npz files, folders of them, prepared data sets, or - for .npy arrays on standard input",
    )
    .option("--reference <file>", `energies of clean data, from isoerg analyze (default: ${REFERENCE_FILE} of the run)`)
    .option("--batch <n>", "samples that are judged together", parseCount, 200)
    .option("--false-alarms <rate>", "share of batches that may raise an alarm without drift", parseRate, 0.01)
    .option("--prometheus <file>", "keep metrics in this file, for node_exporter's textfile collector")
    .option("--metrics <host:port>", "serve metrics at GET /metrics")
    .option("--follow <seconds>", "keep looking into the folders for new files, until stopped", parsePositive)
    .option("--fail", "end with status 1 when any batch raised an alarm", false)
    .option("--weights <which>", "auto, averaged or last", "auto")
    .option("--batch-size <n>", "samples in one pass", parseCount, 128);
  addInputOptions(command);
  return addEngineOptions(command.optionsGroup("Options:"))
    .addHelpText(
      "after",
      `
Writes JSON lines: {"event":"batch",...} for each batch, {"event":"drift",...} for an alarm, {"event":"end",...} at last.

Examples:
  $ isoerg monitor runs/quickstart incoming/ --follow 60 --prometheus /var/lib/node_exporter/isoerg.prom
  $ camera | isoerg monitor model.json - --reference energy-reference.json`,
    )
    .action(async (path: string, data: readonly string[], flags: Flags) => monitor(path, data, flags));
}

async function monitor(path: string, data: readonly string[], flags: Flags): Promise<void> {
  if (flags.batch < SMALLEST_BATCH) {
    throw new IsoergError("USAGE", `--batch ${flags.batch} is too small to tell drift from chance`, {
      hint: `Take at least ${SMALLEST_BATCH}.`,
    });
  }
  const found = await recogniseClassifier(path);
  const referencePath = flags.reference ?? (found.kind === "run" ? join(found.run.folder, REFERENCE_FILE) : undefined);
  if (referencePath === undefined) {
    throw new IsoergError("USAGE", "a model without a run needs --reference", {
      hint: "isoerg analyze MODEL --data DIR --reference FILE makes one.",
    });
  }
  const reference = await readReference(referencePath);
  await startEngine(flags);
  const { shape, classes } = reference.data;
  const tensorShape = [shape.height, shape.width, shape.channels] as const;
  const noise = uniformNoise(tensorShape, 4, 1n).data;
  const probe = createMemorySamples({
    shape,
    numClasses: classes.length,
    samples: { images: Uint8Array.from(noise, (value) => Math.round(value * 255)), labels: new Int32Array(4) },
  });
  const own = inputOptionsOf(flags);
  const input = Object.keys(own).length > 0 || found.kind !== "tfjs" ? own : (reference.input as InputOptions);
  const opened = await openClassifier(found, { data: probe, weights: parseWeights(flags.weights), input });
  try {
    checkModel(opened, reference, referencePath);
    await watch(opened, reference, data, tensorShape, flags);
  } finally {
    opened.dispose();
  }
}

function checkModel({ fingerprint, name }: OpenedClassifier, { model }: EnergyReference, path: string): void {
  if (fingerprint === model.fingerprint) return;
  throw new IsoergError("CHECKPOINT", `${path} is the reference of other weights (of ${model.name}) than those of ${name}`, {
    hint: "Energies of another model are no reference; analyse this one: isoerg analyze.",
  });
}

async function watch(
  opened: OpenedClassifier,
  reference: EnergyReference,
  data: readonly string[],
  shape: readonly [number, number, number],
  flags: Flags,
): Promise<void> {
  const judge = createMonitor(reference, { falseAlarmRate: flags.falseAlarms, seed: 1n });
  const totals: { -readonly [K in keyof MonitorTotals]: MonitorTotals[K] } = {
    model: opened.name,
    batches: 0,
    alarms: 0,
    samples: 0,
    skipped: 0,
    last: null,
    lastAt: null,
  };
  const close = flags.metrics === undefined ? () => undefined : await serveMetricsText(flags.metrics, () => monitorMetrics(totals));
  try {
    await interruptible(async (signal) => {
      const blocks = incoming(data, {
        shape,
        input: process.stdin,
        followMs: flags.follow === undefined ? null : flags.follow * 1000,
        signal,
      });
      for await (const batch of inBatches(blocks, shape, flags.batch)) {
        if (batch.images.numImages < SMALLEST_BATCH) {
          totals.skipped += batch.images.numImages;
          print({ event: "rest", from: batch.from, samples: batch.images.numImages, why: `fewer than ${SMALLEST_BATCH}` });
          continue;
        }
        const record = await judged(batch, signal);
        totals.batches++;
        totals.samples += record.numSamples;
        totals.last = record;
        totals.lastAt = Date.now() / 1000;
        const time = new Date().toISOString();
        print({ event: "batch", time, model: opened.name, from: batch.from, ...record });
        if (record.reasons.length > 0) {
          totals.alarms++;
          const direction = record.shift > 0 ? "higher: less like the reference's data" : "lower: more typical than the reference's data";
          print({
            event: "drift",
            time,
            model: opened.name,
            batch: record.batch,
            from: batch.from,
            energies: direction,
            reasons: record.reasons,
            alarmsInARow: record.alarmsInARow,
          });
        }
        if (flags.prometheus !== undefined) await writeMetrics(flags.prometheus, monitorMetrics(totals));
      }
    }).catch((error: unknown) => {
      // Following ends by a signal; what was seen is still summed up.
      if (!(flags.follow !== undefined && error instanceof IsoergError && error.code === "STOPPED")) throw error;
    });
  } finally {
    close();
  }
  print({ event: "end", batches: totals.batches, alarms: totals.alarms, samples: totals.samples, skipped: totals.skipped });
  if (flags.fail && totals.alarms > 0) {
    throw new IsoergError("STOPPED", `${totals.alarms} of ${totals.batches} batches raised a drift alarm`);
  }

  async function judged({ images, from }: Block, signal: AbortSignal): Promise<BatchRecord> {
    const logits = await logitsOf(opened.classifier, images, opened.numClasses, { batchSize: flags.batchSize, signal });
    const found = energies(logits, opened.numClasses);
    const bad = found.findIndex((energy) => !Number.isFinite(energy));
    if (bad >= 0) throw new IsoergError("DIVERGED", `${from}: the energy of sample ${bad} of its batch is ${found[bad]}`);
    return judge.observe(found, decisions(logits, opened.numClasses));
  }
}

function print(event: object): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

/** In one move: the collector never reads half a file. */
async function writeMetrics(path: string, text: string): Promise<void> {
  await writeFile(`${path}.tmp`, text);
  await rename(`${path}.tmp`, path);
}

function parseRate(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError("It takes a share between 0 and 1, for example 0.01.");
  return value;
}
