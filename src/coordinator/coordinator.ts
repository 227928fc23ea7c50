/**
 * A coordinator: the run's state machine, its server, its journal and metrics, and the clock that drives it.
 *
 * It owns the run from the first worker's hello to the last line of the journal. Everything it decides stands in pure files
 * beside this one; here they are only tied together and, at the end, closed in the order in which they depend on each other.
 */
import { createHash } from "node:crypto";
import { EventEmitter } from "node:events";
import type { Logger } from "pino";
import type { CheckpointStore } from "../checkpoint/store.js";
import { groupSizeOf } from "../config/group-size.js";
import type { Config } from "../config/schema.js";
import { createPlan, planOptionsOf, numSteps as stepsOf } from "../data/plan.js";
import type { SampleSource } from "../data/samples.js";
import { createObjective } from "../objective/objective.js";
import type { Security } from "../security/security.js";
import { isGuarded } from "../train/guard/policy.js";
import type { ErrorCode } from "../util/error.js";
import type { RunStatus } from "../wire/messages.js";
import type { MetricSink, Outcome, RunEvent } from "./events.js";
import { alarmsOf, condemnedCheckpoints, Guarding } from "./guarding.js";
import { type Journal, openJournal, readJournal } from "./journal.js";
import { logEvent } from "./log-event.js";
import { openMetricsLog } from "./metrics-log.js";
import { type DrawGrid, writePostMortem } from "./post-mortem.js";
import type { DatasetFiles } from "./rpc/dataset-file.js";
import { Run } from "./run.js";
import { startServer } from "./server.js";
import type { Slices } from "./speeds.js";
import { newRun, type Start, whereItStands } from "./standing.js";

export interface CoordinatorOptions {
  readonly config: Config;
  /** The training split. */
  readonly source: SampleSource;
  /** The data set's manifest, for the workers and as its identity. */
  readonly manifest: unknown;
  /** Its files that workers may ask for, by name. Default: none. */
  readonly files?: DatasetFiles;
  readonly runFolder: string;
  readonly store: CheckpointStore;
  /** host:port. Default: loopback, any free port. */
  readonly listen?: string;
  /** Who is let in, and how traffic is protected. Default: everyone, plaintext. */
  readonly security?: Security | undefined;
  /** The start waits for so many. */
  readonly workers: number;
  /** Fewer than these are not enough to go on. Default 1. */
  readonly minWorkers?: number;
  /** More than these wait as spares. Default: no limit. */
  readonly maxWorkers?: number;
  /** Whether slices follow the workers' measured speed. Default: equal. */
  readonly slices?: Slices;
  /** Go on from the last whole checkpoint of the run folder, if there is one. */
  readonly resume: boolean;
  readonly log: Logger;
  readonly sinks?: readonly MetricSink[];
  /** For the post-mortem of a run that the stability guard gives up. */
  readonly drawGrid?: DrawGrid;
  readonly timeouts?: Partial<CoordinatorTimeouts>;
  readonly now?: () => number;
  /** Stands between the run and its journal; for tests that end this process at a chosen line. */
  readonly wrapJournal?: (journal: Journal) => Journal;
}

export interface CoordinatorTimeouts {
  /** How long the start waits for all workers. Default 60 s. */
  readonly joinMs: number;
  /** How long a run below its minimum waits for new workers. Default 60 s. */
  readonly rejoinMs: number;
  /** Between a worker's heartbeats. Default 1 s. */
  readonly heartbeatMs: number;
  /**
   * A worker that is silent for so long is lost, whatever its machine has to do; on a quiet one sooner, from five heartbeats on
   * (`silence.ts`). Default 15 s.
   */
  readonly silenceMs: number;
  /** How long workers may take to say goodbye. Default 10 s. */
  readonly goodbyeMs: number;
  /** How long workers of the run's last generation are waited for when it is taken up again. Default 0. */
  readonly returnMs: number;
  /**
   * A thread that computes nothing is not given up before this (default 10 s), one that computes not before six times of it; and
   * neither before a multiple of what the same took lately (`hang.ts`).
   */
  readonly hangMs: number;
  /** For what no worker of the run was seen to end: its first steps, the loading of a state. Default 10 minutes. */
  readonly hangFirstMs: number;
  /** How long the last checkpoint may take. Default 5 minutes. */
  readonly closeMs: number;
}

export interface Coordinator {
  readonly runId: string;
  /** host:port */
  readonly address: string;
  readonly numSteps: number;
  /** The first step to compute; above 0 when resumed. */
  readonly startStep: number;
  /** `event` for everything that happens in the run. */
  readonly events: EventEmitter<{ event: [RunEvent] }>;
  /** Settles when all is written and closed. */
  readonly finished: Promise<Outcome>;
  status(): RunStatus;
  /** Ends the run after the step under way and a checkpoint. `TERMINATED`: its workers wait for another coordinator. */
  stop(reason: string, code?: ErrorCode): void;
  /** Ends the run now. */
  abort(reason: string): void;
  /** Ends the run now, as failed: what it needs outside this process is gone. */
  fail(reason: string, code?: ErrorCode): void;
  /** Ends without a word or a line: another process leads the run. */
  depose(reason: string): void;
}

const TICK_MS = 200;
/** Expected before a worker was lost: with it, the interval of automatic checkpoints begins long. */
const PRIOR_MTBF_MS = 6 * 3_600_000;

const DEFAULT_TIMEOUTS: CoordinatorTimeouts = {
  joinMs: 60_000,
  rejoinMs: 60_000,
  heartbeatMs: 1_000,
  silenceMs: 15_000,
  goodbyeMs: 10_000,
  returnMs: 0,
  hangMs: 10_000,
  hangFirstMs: 600_000,
  closeMs: 300_000,
};

const SILENT_HEARTBEATS = 5;
/** So many times the longest lately counts as hung: without a processor, and with. */
const HANG_FACTOR = { idle: 5, busy: 10 } as const;
const BUSY_FLOORS = 6;

/**
 * Starts a coordinator.
 * @throws IsoergError NETWORK when it can't listen, CHECKPOINT when the run's checkpoints can't be used or are of other data.
 */
export async function createCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const { config, source, runFolder, log } = options;
  const now = options.now ?? Date.now;
  const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
  const planOptions = planOptionsOf(config, source.numSamples);
  const numSteps = stepsOf(planOptions, config.epochs);
  const dataset = sha256(JSON.stringify(options.manifest));
  const { lines } = options.resume ? await readJournal(runFolder) : { lines: [] };
  const condemned = condemnedCheckpoints(lines);
  if (condemned.length > 0) await options.store.discard(condemned, "the stability guard went back before it");
  const start = options.resume ? await whereItStands(options, dataset) : newRun();
  const runId = start.runId ?? newRunId(config.name, now());
  const startStep = start.step;
  const term = start.term + 1;
  const numChains = createObjective(config.objective).views.has("generated") ? config.sampler.chains : 0;

  const file = openJournal(runFolder, () => new Date(now()));
  const journal = options.wrapJournal?.(file) ?? file;
  const metricsLog = openMetricsLog(runFolder, startStep);
  const sinks = new Set<MetricSink>(options.sinks ?? []);
  const events = new EventEmitter<{ event: [RunEvent] }>();
  let end: (outcome: Outcome) => void = () => {};
  const ended = new Promise<Outcome>((resolve) => {
    end = resolve;
  });

  const onEvent = (event: RunEvent): void => {
    logEvent(log, event);
    if (event.kind === "commit") {
      const { kind: _, ids: __, checksum: ___, ...record } = event;
      for (const sink of sinks) void writeTo(sink, record);
    } else if (event.kind === "generation" && event.step < lastStep) {
      metricsLog.rewind(event.step);
    }
    if (event.kind === "commit") lastStep = event.step + 1;
    else if (event.kind === "generation") lastStep = event.step;
    events.emit("event", event);
    if (event.kind === "ended") end(event.outcome);
  };
  let lastStep = startStep;
  const writeTo = async (sink: MetricSink, record: Parameters<MetricSink["write"]>[0]): Promise<void> => {
    try {
      await sink.write(record);
    } catch (error) {
      sinks.delete(sink);
      log.error({ err: error }, "a sink of metrics failed and is left out");
    }
  };

  const guard = isGuarded(config) ? new Guarding({ policy: config.guard, every: config.sampler.every, alarms: alarmsOf(lines) }) : null;
  const run = new Run({
    runId,
    name: config.name,
    plan: createPlan(planOptions),
    numSteps,
    numChains,
    groupSize: groupSizeOf(config.model),
    membership: {
      expectedWorkers: options.workers,
      minWorkers: options.minWorkers ?? 1,
      maxWorkers: options.maxWorkers ?? Number.POSITIVE_INFINITY,
      joinTimeoutMs: timeouts.joinMs,
      rejoinTimeoutMs: timeouts.rejoinMs,
      silence: { floorMs: Math.min(timeouts.silenceMs, SILENT_HEARTBEATS * timeouts.heartbeatMs), ceilingMs: timeouts.silenceMs },
    },
    commit: { maxRetries: 5 },
    hang: {
      idle: { factor: HANG_FACTOR.idle, floorMs: timeouts.hangMs },
      busy: { factor: HANG_FACTOR.busy, floorMs: BUSY_FLOORS * timeouts.hangMs },
      firstMs: timeouts.hangFirstMs,
    },
    checkpoints: {
      everySteps: config.checkpoint.interval === "auto" ? "auto" : config.checkpoint.everySteps,
      priorMtbfMs: PRIOR_MTBF_MS,
    },
    slices: options.slices ?? "equal",
    returnTimeoutMs: start.members.length > 0 ? timeouts.returnMs : 0,
    closeTimeoutMs: timeouts.closeMs,
    start,
    recent: metricsLog.recent,
    guard,
    ...(guard && {
      postMortem: (alarm) => writePostMortem({ runFolder, config, guard, alarm, store: options.store, drawGrid: options.drawGrid }),
    }),
    journal,
    writeFigures: (record) => metricsLog.write(record),
    store: options.store,
    describeState: (step) => ({ runId, step, epoch: step / createPlan(planOptions).stepsPerEpoch, numSteps, dataset, config }),
    now,
    onEvent,
  });
  const reason = describeStart(start);
  journal.append({ event: "start", runId, config: sha256(JSON.stringify(config)), dataset, numSteps, step: startStep, term, reason });

  const closeFiles = async (): Promise<void> => {
    for (const sink of sinks)
      await sink.close().catch((error: Error) => log.error({ err: error }, "a sink of metrics could not be closed"));
    metricsLog.close();
    journal.close();
  };
  const server = await startServer({
    listen: options.listen ?? "127.0.0.1:0",
    run,
    welcome: {
      runId,
      configJson: JSON.stringify(config),
      manifestJson: JSON.stringify(options.manifest),
      heartbeatMs: timeouts.heartbeatMs,
      term,
      numChains,
    },
    samples: {
      source,
      plan: createPlan(planOptions),
      numSteps,
      groupSize: groupSizeOf(config.model),
      sliceWeights: (generation) => run.sliceWeights(generation),
    },
    files: options.files ?? {},
    store: options.store,
    security: options.security,
  }).catch(async (error: unknown) => {
    await closeFiles();
    throw error;
  });
  log.info({ runId, address: server.address, numSteps, step: startStep, dataset }, "listening");
  const timer = setInterval(() => run.tick(), TICK_MS);
  run.tick();

  const finish = async (): Promise<Outcome> => {
    const outcome = await ended;
    clearInterval(timer);
    await server.close(timeouts.goodbyeMs);
    await run.settled;
    await closeFiles();
    return outcome;
  };
  const finished = finish();
  run.finishIfDone();
  return {
    runId,
    address: server.address,
    numSteps,
    startStep,
    events,
    finished,
    status: () => run.status(),
    stop: (why, code) => run.requestStop(why, code),
    abort: (why) => run.abort(why),
    fail: (why, code) => run.fail(why, code),
    depose: (why) => run.depose(why),
  };
}

function describeStart({ step, checkpointStep, term }: Start): string {
  if (term === 0 && step === 0) return "a new run";
  const saved = checkpointStep === null ? "no checkpoint" : `the last checkpoint of step ${checkpointStep}`;
  return `coordinator ${term + 1} of the run: ${step} steps are committed, ${saved}`;
}

function newRunId(name: string, nowMs: number): string {
  return `${name}-${new Date(nowMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-")}-${Math.floor(
    Math.random() * 36 ** 4,
  )
    .toString(36)
    .padStart(4, "0")}`;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
