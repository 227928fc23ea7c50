/**
 * Leads a run from this process, for `isoerg train` (which also starts the workers) and `isoerg coordinator` (whose workers
 * come from elsewhere): data set, run folder, coordinator, progress, signals, and what is said at the end.
 */
import { hostname } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { openCheckpoints } from "../../checkpoint/open.js";
import { idleWorkers } from "../../config/group-size.js";
import type { Config } from "../../config/schema.js";
import { type Coordinator, type CoordinatorOptions, type CoordinatorTimeouts, createCoordinator } from "../../coordinator/coordinator.js";
import type { Outcome } from "../../coordinator/events.js";
import { coordinationHealth } from "../../coordinator/rpc/health.js";
import type { Slices } from "../../coordinator/speeds.js";
import { openDataset } from "../../data/dataset.js";
import { gridPng, scaleFor } from "../../evaluate/grid.js";
import { createTensorBoardSink } from "../../report/tensorboard.js";
import type { Security } from "../../security/security.js";
import { describeSeconds } from "../../util/duration.js";
import { IsoergError } from "../../util/error.js";
import { openHealthServer } from "../../wire/health.js";
import type { RunningServer } from "../../wire/server.js";
import { INTERRUPTED, onStopSignals } from "../stop-signals.js";
import { serveMetrics } from "./metrics-endpoint.js";
import { announceLeader } from "./run-folder.js";
import { createRunProgress, describeProgress } from "./run-progress.js";

export interface LeadOptions {
  readonly config: Config;
  readonly runFolder: string;
  readonly workers: number;
  readonly minWorkers: number;
  readonly maxWorkers?: number;
  readonly slices: Slices;
  readonly listen: string;
  readonly security?: Security | undefined;
  readonly timeouts: Partial<CoordinatorTimeouts>;
  readonly resume: boolean;
  /** host:port for Prometheus, if any. */
  readonly metrics?: string | undefined;
  /** host:port for probes that can't do TLS, if any. */
  readonly health?: string | undefined;
  /** Called when the coordinator listens; what it returns is awaited before this process goes on. */
  readonly onListening: (coordinator: Coordinator) => { ended: (graceMs: number) => Promise<void> };
  /** For tests: `CoordinatorOptions.wrapJournal`. */
  readonly wrapJournal?: CoordinatorOptions["wrapJournal"];
}

export interface RunResult {
  readonly runId: string;
  readonly outcome: Outcome;
  readonly seconds: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/**
 * Leads the run to its end.
 * @throws IsoergError for a run that failed, or one that could not begin.
 */
export async function leadRun(options: LeadOptions): Promise<RunResult> {
  const { config, runFolder } = options;
  const logFile = pino.destination({ dest: join(runFolder, "logs", "coordinator.jsonl"), sync: true, append: true });
  const log = pino({ base: { pid: process.pid } }, logFile);
  const { data, storage } = config;
  const kept = config.checkpoint.path ?? runFolder;
  const onNotice = (notice: string): void => log.warn({ notice }, "storage");
  await using source = await openDataset(data.path, "train", { subset: data.subset, storage, onNotice });
  const { manifest } = source;
  const { classGaussians } = manifest;
  const tensorBoard = await createTensorBoardSink(runFolder, { now: () => new Date(), host: hostname() });
  const coordinator = await createCoordinator({
    config,
    source,
    manifest,
    files: { [classGaussians.file]: () => source.readFile(classGaussians) },
    runFolder,
    store: openCheckpoints({
      config,
      runFolder,
      onNotice,
      onDelete: ({ step, reason }) => log.info({ step, reason }, "checkpoint deleted"),
    }),
    listen: options.listen,
    security: options.security,
    workers: options.workers,
    minWorkers: options.minWorkers,
    ...(options.maxWorkers !== undefined && { maxWorkers: options.maxWorkers }),
    ...(options.wrapJournal && { wrapJournal: options.wrapJournal }),
    slices: options.slices,
    resume: options.resume,
    log,
    sinks: [tensorBoard],
    drawGrid: (images) =>
      images.shape[2] === 1 || images.shape[2] === 3 ? gridPng(images, { columns: 10, scale: scaleFor(images, 10, 640) }) : null,
    timeouts: options.timeouts,
  });
  let endMetrics = (): void => {};
  let health: RunningServer | undefined;
  const withdraw = await announceLeader(runFolder, coordinator.address, (other) => coordinator.depose(other));
  const progress = createRunProgress(process.stderr);
  const idle = idleWorkers(config, options.workers);
  if (idle !== null) progress.say(idle);
  const since = performance.now();
  let status = coordinator.status();
  let hasBegun = false;
  coordinator.events.on("event", (event) => {
    if (event.kind === "generation") hasBegun = true;
    if (event.kind === "notice") progress.say(event.message);
    else if (event.kind === "generation" && (event.generation > 1 || event.workers.length < options.workers))
      progress.say(`generation ${event.generation}: ${event.reason}`);
    else if (event.kind === "commit") {
      status = coordinator.status();
      progress.update(status);
    }
  });
  const forget = onSignals(coordinator, progress.say);
  try {
    if (options.metrics !== undefined) endMetrics = await serveMetrics(options.metrics, coordinator.status);
    if (options.health !== undefined) health = await openHealthServer(options.health, coordinationHealth(coordinator.status));
    const workers = options.onListening(coordinator);
    const outcome = await coordinator.finished;
    progress.end();
    await workers.ended(2_000); // their sessions are over; one that never had any is not waited for
    if (outcome.kind === "failed") throw failure(outcome, { runFolder, hasBegun });
    if (outcome.code === "TERMINATED") throw terminated(outcome, kept);
    progress.say(outcome.kind === "finished" ? describeProgress(status) : `stopped: ${outcome.reason}`);
    const seconds = (performance.now() - since) / 1000;
    progress.say(`${outcome.step} of ${coordinator.numSteps} steps are saved in ${kept} (${describeSeconds(seconds)})`);
    return { runId: coordinator.runId, outcome, seconds, metrics: status.metrics };
  } finally {
    forget();
    endMetrics();
    await health?.close(0);
    coordinator.abort("this process ends"); // for a run that could not begin; one that ended stays as it is
    await coordinator.finished;
    await withdraw();
    logFile.end();
  }
}

/** The first signal saves and ends the run, the second ends it at once. */
function onSignals(coordinator: Coordinator, say: (text: string) => void): () => void {
  return onStopSignals({
    first: (signal) => {
      say(`${signal}: saving after the step under way; once more ends at once`);
      coordinator.stop(signal, signal === "SIGTERM" ? "TERMINATED" : undefined);
    },
    second: (signal) => {
      coordinator.abort(`${signal}, twice`);
      setTimeout(() => process.exit(INTERRUPTED), 500);
    },
  });
}

/**
 * A signal that a machine sent: what is done is saved, and whoever starts the same command again goes on from there.
 * @param kept where its checkpoints are
 */
function terminated({ reason, step, checkpointStep }: Outcome, kept: string): IsoergError {
  const saved = checkpointStep === step ? `step ${step} is saved in ${kept}` : `the last checkpoint is that of step ${checkpointStep ?? 0}`;
  return new IsoergError("TERMINATED", `ended by ${reason}; ${saved}`, { hint: "The same command goes on from there." });
}

function failure(
  { reason, code, checkpointStep }: Outcome,
  { runFolder, hasBegun }: { readonly runFolder: string; readonly hasBegun: boolean },
): IsoergError {
  if (reason.startsWith("the training diverged")) {
    return new IsoergError("DIVERGED", `the run failed: ${reason}`, {
      hint: "The post-mortem says what was seen and what to try. The latest checkpoint is the last one from before the trouble.",
    });
  }
  const logs = `What each process did is in ${join(runFolder, "logs")}`;
  if (code === "DIVERGED") {
    return new IsoergError("DIVERGED", `the run failed: ${reason}`, {
      hint: `The same settings would come to the same: change some (a smaller optimizer.lr, clipNorm). ${logs}.`,
    });
  }
  if (code === "BELOW_MINIMUM" && !hasBegun) {
    return new IsoergError("BELOW_MINIMUM", `the run could not begin: ${reason}`, {
      hint: `Where workers take longer to start, let it wait for them: --join-timeout SECONDS. ${logs}.`,
    });
  }
  const hint = checkpointStep === null ? `${logs}.` : `${logs}; the same command goes on from step ${checkpointStep}.`;
  return new IsoergError(code ?? "ENGINE", `the run failed: ${reason}`, { hint });
}
