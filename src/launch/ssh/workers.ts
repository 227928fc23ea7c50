/**
 * The workers of a run over ssh: a session for each place of the host file, begun again as `after-exit.ts` decides, all of them gone
 * when the run is. Which hosts have failed for good is told; what that means for the run is the caller's to say.
 */
import { type AfterExit, afterExit } from "./after-exit.js";
import type { Credentials } from "./credentials.js";
import { destinationOf, type Place } from "./hosts.js";
import { openSession, type Session } from "./session.js";

export interface RemoteWorkersOptions {
  readonly places: readonly Place[];
  readonly ssh: readonly string[];
  /** isoerg on the hosts: command and first words. */
  readonly program: readonly string[];
  /** Where the coordinator is reached, each to be tried. */
  readonly addresses: readonly string[];
  readonly credentials: Credentials;
  readonly engine: string;
  /** For hosts that don't say: cpu, cuda or cuda:N. */
  readonly device: string;
  readonly threads: number | null;
  readonly say: (text: string) => void;
  /** A line of a worker's log. */
  readonly onLog: (place: Place, line: string) => void;
  /** A place has failed for good. */
  readonly onLost: (place: Place, how: Extract<AfterExit, { kind: "hopeless" | "givenUp" }>, numLeft: number) => void;
}

export interface RemoteWorkers {
  /** Waits until all have ended; after `graceMs` they are told to, and then made to. */
  ended(graceMs: number): Promise<void>;
}

/** A worker that lost its coordinator looks for it so long: the launcher's process leads, and comes back with its own workers. */
const RECONNECT_SECONDS = 60;
const GRACE_SECONDS = 10;
const RELEASE_AFTER_MS = 3_000;
const KILL_AFTER_MS = 15_000;

export function startRemoteWorkers(options: RemoteWorkersOptions): RemoteWorkers {
  const { places, say } = options;
  const sessions = new Map<Place, Session>();
  const over = new AbortController();
  const left = new Set(places);

  const work = async (place: Place): Promise<void> => {
    let failures = 0;
    while (!over.signal.aborted) {
      const session = openSession({
        ssh: options.ssh,
        destination: destinationOf(place.host),
        process: processOf(place, options),
        onLine: (line) => say(`[${place.id}] ${line}`),
        onLog: (line) => options.onLog(place, line),
      });
      sessions.set(place, session);
      const exit = await session.ended;
      sessions.delete(place);
      if (over.signal.aborted) return;
      const next = afterExit(exit, { failures });
      if (next.kind === "over") return;
      if (next.kind !== "again") {
        left.delete(place);
        say(`[${place.id}] ${next.reason}`);
        options.onLost(place, next, left.size);
        return;
      }
      if (next.counts) failures++;
      say(`[${place.id}] ${next.reason}; started again in ${next.afterMs / 1000} s`);
      await pauseUnless(over.signal, next.afterMs);
    }
  };
  const working = Promise.all(places.map(work));

  return {
    async ended(graceMs) {
      const timers = [
        setTimeout(() => {
          over.abort();
          for (const session of sessions.values()) session.terminate();
        }, graceMs),
        setTimeout(() => each(sessions, (session) => session.release()), graceMs + RELEASE_AFTER_MS),
        setTimeout(() => each(sessions, (session) => session.kill()), graceMs + KILL_AFTER_MS),
      ];
      await working;
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

function each(sessions: ReadonlyMap<Place, Session>, act: (session: Session) => void): void {
  for (const session of sessions.values()) act(session);
}

function processOf({ id, host, slot }: Place, { program, addresses, credentials, engine, device, threads }: RemoteWorkersOptions) {
  const own = host.device ?? device;
  return {
    words: [
      ...program,
      "worker",
      "--coordinator",
      addresses.join(","),
      "--id",
      id,
      "--reconnect-timeout",
      String(RECONNECT_SECONDS),
      "--engine",
      engine,
      "--device",
      own === "cuda" ? `cuda:${slot}` : own, // one GPU a worker
      "--threads",
      "@THREADS@",
      "--log",
      "@FILES@/log",
      ...(host.address === null ? [] : ["--ring-host", host.address]),
      ...credentials.words,
    ],
    files: credentials.files,
    slots: host.slots,
    threads: host.threads ?? threads,
    graceSeconds: GRACE_SECONDS,
  };
}

function pauseUnless(signal: AbortSignal, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
