/**
 * What a run would be, told as it becomes known: the plan at once; then memory and time worked out from the network's shapes; then
 * a real step of the same training over the same loop, in small where the whole one would take longer than the limit, and what it
 * says of the whole. Nothing is written, and nothing runs for minutes that was not asked to.
 */
import { freemem } from "node:os";
import { groupSizeOf } from "../../config/group-size.js";
import type { Config } from "../../config/schema.js";
import { decodeClassGaussians } from "../../data/class-gaussians.js";
import { type Dataset, openDataset } from "../../data/dataset.js";
import { createPlan, planOptionsOf, slice, numSteps as stepsOf } from "../../data/plan.js";
import { startEngine } from "../../engine/choose.js";
import type { Engine, EngineOptions } from "../../engine/engine.js";
import { measurePeak } from "../../engine/peak.js";
import { createModel } from "../../model/create.js";
import { createObjective } from "../../objective/objective.js";
import { describeSeconds } from "../../util/duration.js";
import { type MeasuredFigures, measureStep } from "./measure-step.js";
import { estimateMemory, layoutFactors, type MemoryEstimate } from "./memory-estimate.js";
import { extrapolate, nextStep, operationsOfStep, type StepSize, smallestStep, wholeStep } from "./step-slice.js";

export interface DryRunOptions {
  readonly config: Config;
  readonly workers: number;
  readonly engine: EngineOptions;
  /** What may be spent on measuring; 0 measures nothing. */
  readonly limitSeconds: number;
  /** Where what is known goes, as soon as it is. */
  readonly report: DryRunReport;
}

export interface DryRunReport {
  row(label: string, value: string): void;
  /** What is being done meanwhile. */
  status(text: string): void;
}

/** A first step costs about so many times its arithmetic: memory is faulted in, and a single sample fills no processor. */
const COLD = 4;

/** @throws IsoergError when the data set can't be read, or a step could not be computed. */
export async function dryRun(options: DryRunOptions): Promise<void> {
  const { config, workers, limitSeconds, report } = options;
  await using source = await openDataset(config.data.path, "train", { subset: config.data.subset, storage: config.storage });
  const { shape, numClasses, numSamples } = source;
  const model = createModel(config.model, [shape.height, shape.width, shape.channels], numClasses);
  const { views } = createObjective(config.objective);
  const whole = wholeStep(config, views);
  const numSteps = tellPlan(source, whole, options);
  const operations = operationsOfStep(config, whole, views, model.macsPerSample);
  report.row(
    "network",
    `${config.model.kind}, ${model.numParameters.toLocaleString("en")} parameters, ${withPrefix(model.macsPerSample)} multiplications for a sample's forward pass`,
  );
  report.row("arithmetic of a step", `about ${withPrefix(operations)} operations in the network's passes`);

  report.status("starting the engine");
  const engine = await startEngine(options.engine);
  const threads = `${engine.threads} thread${engine.threads === 1 ? "" : "s"}`;
  report.row("engine", `${engine.name} (${engine.version}), ${engine.device}, ${threads}: ${engine.why}`);
  const estimateOf = ({ samples, chains }: StepSize): MemoryEstimate =>
    estimateMemory({ config, model, views, samples, chains, bf16: engine.bf16.supported, layoutFactors: layoutFactors(engine) });
  tellMemory(estimateOf(largestShare(config, whole, workers)), workers, report);
  if (limitSeconds === 0) return;

  report.status("measuring the engine's speed");
  const began = performance.now();
  const peakGflops = measurePeak({ precision: "fp32", budgetMs: 500, nowMs: () => performance.now() });
  const estimatedSeconds = operations / (peakGflops * 1e9);
  const basis = `at ${peakGflops.toPrecision(3)} GFLOP/s, the best matrix product here`;
  report.row("one step, estimated", `about ${seconds(estimatedSeconds)} for the whole batch in one process, ${basis}`);

  const first = smallestStep(config, whole);
  const refusal = tooLarge(estimateOf(first)) ?? tooLong(first, COLD * estimatedSeconds * (first.samples / whole.samples), limitSeconds);
  if (refusal !== null) {
    report.row("one step, measured", refusal);
    return;
  }
  const ids = createPlan(planOptionsOf(config, numSamples)).batchOf(0).ids;
  const samples = await source.read(ids);
  const gaussians = await readGaussians(source);
  const measured: MeasuredFigures[] = [];
  for (let size: StepSize | null = first; size !== null; ) {
    report.status(`computing a step of ${sizeWords(size)} twice`);
    const one = measureStep({ config, size, data: { shape, numClasses }, samples, gaussians });
    measured.push(one);
    const setUpMs = one.tookMs - 2 * totalOf(one.phasesMs);
    const leftMs = 1000 * limitSeconds - (performance.now() - began) - Math.max(0, setUpMs);
    size = measured.length === 1 ? nextStep(one, whole, leftMs) : null;
    if (size && tooLarge(estimateOf(size)) !== null) size = null;
  }
  tellMeasured({ measured, whole, numSteps, engine, estimateOf }, options, views);
}

/** -> the number of steps. */
function tellPlan(
  { manifest, shape, numSamples, numClasses }: Dataset,
  whole: StepSize,
  { config, workers, report }: DryRunOptions,
): number {
  const plan = createPlan(planOptionsOf(config, numSamples));
  const numSteps = stepsOf(plan.options, config.epochs);
  const share = (total: number): string => {
    const each = sharesOf(total, config, workers);
    return workers === 1 ? String(total) : `${total} (${each.join(" + ")})`;
  };
  report.row(
    "data set",
    `${manifest.name}, ${numSamples} samples of ${shape.height} x ${shape.width} x ${shape.channels}, ${numClasses} classes`,
  );
  report.row("steps", `${numSteps} (${config.epochs} epochs of ${plan.stepsPerEpoch})`);
  report.row("samples a step", share(whole.samples));
  report.row("chains a step", whole.chains === 0 ? "none" : `${share(whole.chains)}, buffer of ${config.sampler.bufferSize}`);
  const { interval, everySteps } = config.checkpoint;
  report.row("checkpoints", `${interval === "auto" ? "as often as loses least," : `every ${everySteps} steps`} and at the end`);
  return numSteps;
}

function tellMemory({ peakBytes, parts, hostBytes }: MemoryEstimate, workers: number, report: DryRunReport): void {
  report.row("memory, estimated", `${bytes(peakBytes)} of tensors at most${workers === 1 ? "" : `, in each of ${workers} workers`}`);
  const { parametersBytes, imagesBytes, updateBytes, innerBytes, optimizerBytes } = parts;
  const largest = `the largest of update ${bytes(updateBytes)}, attack and sampling ${bytes(innerBytes)}, optimizer ${bytes(optimizerBytes)}`;
  report.row("    made of", `parameters ${bytes(parametersBytes)}, images ${bytes(imagesBytes)}, ${largest}`);
  report.row("    buffer and gradient", `${bytes(hostBytes)} of the host's memory`);
}

interface Measurement {
  readonly measured: readonly MeasuredFigures[];
  readonly whole: StepSize;
  readonly numSteps: number;
  readonly engine: Engine;
  readonly estimateOf: (size: StepSize) => MemoryEstimate;
}

function tellMeasured(
  { measured, whole, numSteps, engine, estimateOf }: Measurement,
  { config, report }: DryRunOptions,
  views: Parameters<typeof extrapolate>[3],
): void {
  const last = measured.at(-1) as MeasuredFigures;
  const { phasesMs, totalMs } = extrapolate(measured, whole, config, views);
  const isWhole = last.size.samples === whole.samples && last.size.chains === whole.chains;
  const sizes = measured.map(({ size, phasesMs: own }) => `${sizeWords(size)} (${seconds(totalOf(own) / 1000)})`);
  const basis = isWhole
    ? "the whole batch, here"
    : `extrapolated from ${measured.length === 1 ? "a step" : "steps"} of ${sizes.join(" and ")}`;
  report.row("one step, measured", `${seconds(totalMs / 1000)}, ${basis}`);
  const phases = Object.entries(phasesMs).filter(([, ms]) => ms >= 0.5);
  report.row("    phases, ms", phases.map(([name, ms]) => `${name} ${ms.toFixed(0)}`).join("  "));
  const { peakBytes } = engine.memory();
  // The other engines keep no account of their tensors: theirs is the whole process.
  const counted = engine.name === "torch" ? bytes(peakBytes) : `${bytes(peakBytes)} with the program itself`;
  report.row("    tensors at most", `${counted}; estimated ${bytes(estimateOf(last.size).peakBytes)} for ${isWhole ? "it" : "that size"}`);
  const figures = Object.entries(last.metrics).map(([name, value]) => `${name} ${value.toPrecision(4)}`);
  report.row("    figures", figures.join("  "));
  report.row("all steps at that speed", `${describeSeconds((numSteps * totalMs) / 1000)} in one process`);
}

function sharesOf(total: number, config: Config, workers: number): number[] {
  const weights = Array.from({ length: workers }, () => 1);
  return weights.map((_, rank) => slice(total, rank, weights, groupSizeOf(config.model))).map(({ from, to }) => to - from);
}

function largestShare(config: Config, { samples, chains }: StepSize, workers: number): StepSize {
  return { samples: Math.max(...sharesOf(samples, config, workers)), chains: Math.max(...sharesOf(chains, config, workers)) };
}

function tooLarge({ peakBytes, hostBytes }: MemoryEstimate): string | null {
  const free = freemem();
  if (peakBytes + hostBytes < free) return null;
  return `not measured: even the smallest step needs about ${bytes(peakBytes + hostBytes)}, and this machine has ${bytes(free)} left`;
}

function tooLong(size: StepSize, expectedSeconds: number, limitSeconds: number): string | null {
  if (expectedSeconds <= limitSeconds) return null;
  return `not measured: a step of ${sizeWords(size)} would take about ${seconds(expectedSeconds)}; --dry-run-limit ${Math.ceil(expectedSeconds)} measures it`;
}

async function readGaussians(source: Dataset) {
  const { classGaussians } = source.manifest;
  const { shape, numClasses } = source;
  return decodeClassGaussians(await source.readFile(classGaussians), { shape, numClasses, ...classGaussians });
}

const totalOf = (phasesMs: Readonly<Record<string, number>>): number => Object.values(phasesMs).reduce((sum, ms) => sum + ms, 0);

function sizeWords({ samples, chains }: StepSize): string {
  const words = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;
  return chains === 0 ? words(samples, "sample") : `${words(samples, "sample")} and ${words(chains, "chain")}`;
}

/** Seconds with two digits that count, minutes and hours as people say them. */
const seconds = (value: number): string =>
  value < 60 ? `${value < 0.1 ? value.toPrecision(1) : Number(value.toPrecision(2))} s` : describeSeconds(value);

function bytes(value: number): string {
  return value < 2 ** 30 ? `${(value / 2 ** 20).toFixed(1)} MiB` : `${(value / 2 ** 30).toFixed(2)} GiB`;
}

/** 5.25 G, 37.1 T: three digits and a decimal prefix. */
function withPrefix(value: number): string {
  const power = Math.min(5, Math.max(0, Math.floor(Math.log10(Math.max(1, value)) / 3)));
  return `${Number((value / 1000 ** power).toPrecision(3))}${["", " k", " M", " G", " T", " P"][power]}`;
}
