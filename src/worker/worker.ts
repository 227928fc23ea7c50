/**
 * A worker process from start to end: training thread first (an engine that can't start is told before anyone waits for
 * this worker), then the session, then whatever the coordinator says.
 *
 * The end has one order: the training thread is done or ended, sockets are closed, goodbye is said, the channel is closed.
 * A ZeroMQ socket lives on this thread only, so ending the other one can't abort the process.
 */
import { networkInterfaces } from "node:os";
import type { Logger } from "pino";
import type { DataPorts } from "../collective/data-ports.js";
import { ARENA_BYTES, loadHostMemory } from "../collective/host-memory.js";
import { loadNativeStreams, type NativeStreams } from "../collective/native-streams.js";
import { addNatively } from "../collective/reduce.js";
import type { EngineOptions } from "../engine/engine.js";
import { NO_SECURITY, type Security } from "../security/security.js";
import { errorCodeOf, IsoergError } from "../util/error.js";
import { callServerStream, networkError } from "../wire/client.js";
import type { FileBlock } from "../wire/messages.js";
import { coordination, PROTOCOL_VERSION } from "../wire/proto.js";
import { Dialer, type Whereabouts } from "./dialer.js";
import type { SharedVectors } from "./sums.js";
import type { Briefing } from "./thread-messages.js";
import { Training } from "./training.js";
import type { StopTurn } from "./turns.js";
import { WorkerLink } from "./worker-link.js";

export interface WorkerOptions {
  /** Where the coordinator may be, asked anew whenever it is looked for. */
  readonly whereabouts: Whereabouts;
  /** Stable name of this place. */
  readonly workerId: string;
  /** Unique to this process. */
  readonly incarnation: string;
  readonly engine: EngineOptions;
  /** Address for the ring's sockets. Default: loopback when the coordinator is there, else this machine's first address. */
  readonly ringHost?: string;
  /** Ports for the ring and for what peers fetch. Default: any that is free. */
  readonly dataPorts?: DataPorts;
  /** How long the coordinator is looked for at first. Default 30 s. */
  readonly connectTimeoutMs?: number;
  /** How long it is looked for after it was lost; 0 to end with it. Default 10 minutes. */
  readonly reconnectTimeoutMs?: number;
  /** How traffic is protected: an identity also encrypts the ring. Default: plaintext. */
  readonly security?: Security;
  /** A wish to leave in order. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** File for a timeline of every step (`trace.ts`). */
  readonly trace?: string;
  /** Another training program, and what it is given; for tests. */
  readonly program?: URL;
  readonly programData?: unknown;
}

/** How long a training thread may take to end after its stop. */
const THREAD_END_MS = 10_000;

/**
 * Computes for a coordinator until the run ends.
 * @throws IsoergError ENGINE, NETWORK or what training failed with.
 */
export async function runWorker(options: WorkerOptions): Promise<StopTurn> {
  const { workerId, incarnation, log } = options;
  const shared = await openArena(log);
  const training = new Training({
    engine: options.engine,
    shared,
    ...(options.trace !== undefined && { trace: { path: options.trace, name: `worker ${workerId}` } }),
    ...(options.program && { program: options.program, programData: options.programData }),
  });
  const engine = await training.started;
  if (engine === null) {
    const end = await training.ended;
    const { reason, hint } = end.kind === "failed" ? end : { reason: "the training thread ended early", hint: undefined };
    throw new IsoergError("ENGINE", reason, hint === undefined ? {} : { hint });
  }
  log.info({ engine }, "engine started");
  const link = new WorkerLink({
    dialer: new Dialer({ whereabouts: options.whereabouts, security: options.security }),
    hello: { workerId, incarnation, engine, protocol: PROTOCOL_VERSION },
    ring: (coordinator) => ({
      host: options.ringHost ?? defaultRingHost(coordinator),
      ...(options.dataPorts !== undefined && { ports: options.dataPorts }),
      curve: (options.security ?? NO_SECURITY).identity !== null,
    }),
    security: options.security,
    connectMs: options.connectTimeoutMs ?? 30_000,
    reconnectMs: options.reconnectTimeoutMs ?? 600_000,
    shared,
    pulse: training.pulse,
    streams: await openStreams(log),
    log,
  });
  const retire = (): void => link.retire("asked to terminate");
  if (options.signal.aborted) retire();
  options.signal.addEventListener("abort", retire, { once: true });
  try {
    training.serve(link, () => brief(link));
    const end = await endOfTraining(training, link);
    if (end.kind === "failed") {
      log.error({ reason: end.reason }, "training failed");
      await link.fail(end.reason, end.code);
    }
    await link.close();
    const stop = link.stop ?? { kind: "stop", outcome: "failed", reason: "the worker ended by itself", code: "" };
    if (end.kind === "failed") {
      throw new IsoergError(errorCodeOf(end.code, "ENGINE"), end.reason, end.hint === undefined ? {} : { hint: end.hint });
    }
    return stop;
  } finally {
    options.signal.removeEventListener("abort", retire);
    await training.terminate();
  }
}

/** Memory for vectors that other workers of this host can map; null, with a word in the log, where there is none. */
async function openArena(log: Logger): Promise<(SharedVectors & { readonly path: string }) | null> {
  const loaded = await loadHostMemory();
  try {
    if (!loaded.ok) throw new IsoergError("ENGINE", loaded.reason, { hint: loaded.hint });
    const { memory, path } = loaded;
    addNatively(memory.add);
    return { memory, path, arena: memory.createArena(ARENA_BYTES) };
  } catch (error) {
    log.info({ reason: (error as Error).message }, "no shared memory between processes: sums go through ZeroMQ");
    return null;
  }
}

/** Native TCP between hosts; null, with a word in the log, where there is none. */
async function openStreams(log: Logger): Promise<NativeStreams | null> {
  const loaded = await loadNativeStreams();
  if (loaded.ok) return loaded.native;
  log.info({ reason: loaded.reason }, "no streams: sums between hosts go through ZeroMQ");
  return null;
}

/** What training is about; null when no coordinator ever takes this worker in. */
async function brief(link: WorkerLink): Promise<Briefing | null> {
  for (;;) {
    const taken = await link.welcome();
    if (!taken) return null;
    const { runId, configJson, manifestJson } = taken.welcome;
    try {
      return { runId, configJson, manifestJson, gaussians: await fetchGaussians(taken.client, configJson, manifestJson) };
    } catch (error) {
      if (networkError(error as Error).code === "NETWORK") continue; // the coordinator was lost meanwhile
      await link.fail(`the data set's Gaussians did not come: ${(error as Error).message}`, "DATA");
      return null;
    }
  }
}

/** The thread ends by itself after a stop; one that doesn't is ended. */
async function endOfTraining(training: Training, link: WorkerLink): ReturnType<() => Training["ended"]> {
  let timer: NodeJS.Timeout | undefined;
  const overdue = link.stopped.then(
    () =>
      new Promise<{ kind: "done" }>((resolve) => {
        timer = setTimeout(() => resolve({ kind: "done" }), THREAD_END_MS);
      }),
  );
  const end = await Promise.race([training.ended, overdue]);
  clearTimeout(timer);
  return end;
}

interface GaussiansSettings {
  readonly sampler: { readonly chains: number; readonly start: string };
}

/** What chains start from, where the configuration wants that. */
async function fetchGaussians(
  client: Parameters<typeof callServerStream>[0],
  configJson: string,
  manifestJson: string,
): Promise<Uint8Array | null> {
  const { sampler } = JSON.parse(configJson) as GaussiansSettings;
  const { classGaussians } = JSON.parse(manifestJson) as { classGaussians?: { file: string } };
  if (sampler.chains === 0 || sampler.start === "uniform" || !classGaussians) return null;
  const pieces: Uint8Array[] = [];
  for await (const { data } of callServerStream(client, coordination.datasetFile, {
    name: classGaussians.file,
  }) as AsyncIterable<FileBlock>) {
    pieces.push(data);
  }
  return new Uint8Array(Buffer.concat(pieces));
}

function defaultRingHost(coordinator: string): string {
  const host = coordinator.slice(0, coordinator.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  if (host === "localhost" || host === "::1" || host.startsWith("127.")) return "127.0.0.1";
  const addresses = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
  return addresses.find(({ internal, family }) => !internal && family === "IPv4")?.address ?? "127.0.0.1";
}
