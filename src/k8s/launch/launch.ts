/**
 * Applies a run and follows it to its end: the coordinator's log as its progress, a line for each thing that goes wrong, the log of
 * the first failure. The cluster does the work: a launcher that is interrupted leaves the run as it is, and one that is started again
 * with the same run takes up following it.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { CoreV1Event, V1Job, V1Pod } from "@kubernetes/client-node";
import { IsoergError } from "../../util/error.js";
import { workersName } from "../names.js";
import type { Manifest } from "../objects.js";
import type { Cluster } from "./cluster.js";
import {
  type Failure,
  firstFailure,
  hasEnded,
  haveWorkersEnded,
  leadingPod,
  nameOf,
  remarksOn,
  remarksOnEvents,
  remarksOnJob,
  type Standing,
  standingOf,
} from "./view.js";

export interface LaunchOptions {
  readonly cluster: Cluster;
  /** Of the run. */
  readonly name: string;
  readonly objects: readonly Manifest[];
  /** A line for a person. */
  readonly say: (text: string) => void;
  /** To follow no longer. */
  readonly signal: AbortSignal;
  /** Workers may take so long to end after the coordinator. */
  readonly workersEndMs?: number;
}

const TAIL_LINES = 40;
/** A log that ended while its container runs on is asked for again after this. */
const LOG_RETRY_MS = 500;
/** Between two looks at what is being deleted; pods that hold it may take their grace period to end. */
const LEAVING_MS = 1000;
const MAX_LEAVING_MS = 180_000;
const WORKERS_END_MS = 30_000;
/** The last lines of a log may take so long. */
const LOG_END_MS = 10_000;

/**
 * @returns when the run has finished
 * @throws IsoergError for a run that failed, with the exit code of what failed first; STOPPED where `signal` came first
 */
export async function launch({ cluster, name, objects, say, signal, workersEndMs = WORKERS_END_MS }: LaunchOptions): Promise<void> {
  // All or nothing: half of another run's objects would change one that is under way.
  for (const object of objects) await admitted(cluster, object, say, signal);
  for (const object of objects) await cluster.apply(object);
  say(`applied ${objects.length} objects to ${cluster.namespace} on ${cluster.server}`);
  const selector = `app.kubernetes.io/name=isoerg,app.kubernetes.io/instance=${name}`;
  await cluster.prunePolicies(selector, objects).then(
    (names) => names.length > 0 && say(`deleted what is not of this run any more: NetworkPolicy ${names.join(", ")}`),
    (error: Error) => say(`policies of an earlier run may be left: ${error.message}`),
  );
  const over = new AbortController();
  const stop = AbortSignal.any([signal, over.signal]);
  const said = new Set<string>();
  const sayOnce = (key: string, text: string): void => {
    if (said.has(key)) return;
    said.add(key);
    say(text);
  };
  let jobs: readonly V1Job[] | null = null;
  let pods: readonly V1Pod[] = [];
  let events: readonly CoreV1Event[] = [];
  let first: Failure | null = null;
  let isEnding = false;
  let telling: Promise<void> = Promise.resolve();
  const log = new CoordinatorLog(cluster, say, stop);
  let settle: (standing: Standing) => void = () => {};
  const standing = new Promise<Standing>((resolve) => {
    settle = resolve;
  });
  const workersEnded = new AbortController();
  const decide = (): void => {
    if (jobs !== null && haveWorkersEnded(name, jobs)) workersEnded.abort();
    const now = jobs === null ? null : standingOf(name, jobs);
    if (now !== null && now.kind !== "underWay") settle(now);
  };

  const noteEvents = (): void => {
    const owners = new Set([...(jobs ?? []), ...pods].map(({ metadata }) => metadata?.uid ?? ""));
    for (const { key, text } of remarksOnEvents(events, owners)) sayOnce(key, text);
  };
  const notePods = (seen: readonly V1Pod[]): void => {
    pods = seen;
    for (const { key, text } of seen.flatMap(remarksOn)) sayOnce(key, text);
    noteEvents();
    const failure = first === null ? firstFailure(seen) : null;
    if (failure === null) return;
    first = failure;
    telling = tellLog(cluster, failure, say, signal);
  };

  const following = Promise.all([
    cluster.follow(
      "jobs",
      selector,
      (seen) => {
        jobs = seen;
        if (!isEnding) for (const { key, text } of seen.flatMap(remarksOnJob)) sayOnce(key, text);
        noteEvents();
        decide();
      },
      stop,
    ),
    cluster.follow(
      "pods",
      selector,
      (seen) => {
        log.see(leadingPod(name, seen));
        notePods(seen);
      },
      stop,
    ),
  ]);
  // A help to a person: a launcher that may not read events does without.
  const hear = (seen: readonly CoreV1Event[]): void => {
    events = seen;
    noteEvents();
  };
  const listening = cluster.follow("events", "type=Warning", hear, stop).catch(() => {});
  const interrupted = new Promise<never>((_resolve, reject) => {
    const why = new IsoergError("STOPPED", `no longer followed; the run ${name} goes on in the cluster`, {
      hint: `The same command follows it again. To end it: kubectl -n ${cluster.namespace} delete jobs -l app.kubernetes.io/instance=${name}`,
    });
    if (signal.aborted) reject(why);
    signal.addEventListener("abort", () => reject(why), { once: true });
  });
  try {
    const end = await Promise.race([standing, interrupted, following.then(() => interrupted)]);
    isEnding = true; // what is suspended from here on is our doing
    // The Job's end may have come before the news of the pod that it is due to.
    if (end.kind === "failed") notePods(await cluster.pods(selector).catch(() => []));
    await telling;
    if (end.kind === "failed") await suspendRest(cluster, end.other, say);
    await log.rest();
    if (end.kind === "failed")
      throw failed(end, first, `kubectl -n ${cluster.namespace} delete jobs -l app.kubernetes.io/instance=${name}`);
    say(`the run ${name} has finished`);
    await pause(workersEndMs, undefined, { signal: AbortSignal.any([workersEnded.signal, signal]) }).catch(() => {});
    // One that was being replaced when the run ended would look for its coordinator for ever.
    if (!workersEnded.signal.aborted && !signal.aborted) await suspendRest(cluster, workersName(name), say);
  } finally {
    over.abort();
    await following.catch(() => {});
    await listening;
  }
}

/** Waits for a namesake that is being deleted: a claim that its pods still use, a Job that ends in order. */
async function admitted(cluster: Cluster, object: Manifest, say: (text: string) => void, signal: AbortSignal): Promise<void> {
  const what = `${object.kind} ${object.metadata.name}`;
  for (let tries = 0; (await cluster.check(object)).isLeaving; tries++) {
    if (tries === 0) say(`waits for ${what}, which is being deleted`);
    if (signal.aborted || tries * LEAVING_MS > MAX_LEAVING_MS)
      throw new IsoergError("USAGE", `${what} is still being deleted`, {
        hint: "kubectl describe says what holds it: a pod, or a finalizer",
      });
    await pause(LEAVING_MS, undefined, { signal }).catch(() => {});
  }
}

/** What is left of a run that failed would hold its GPUs, and wait: it is suspended, and saves what it can. */
async function suspendRest(cluster: Cluster, job: string, say: (text: string) => void): Promise<void> {
  await cluster.suspend(job).then(
    () => say(`${job} is suspended`),
    (error: Error) => say(`${job} could not be suspended: ${error.message}`),
  );
}

function failed({ job, reason }: Extract<Standing, { kind: "failed" }>, first: Failure | null, remove: string): IsoergError {
  const cause = first === null ? "" : `; first, ${first.container} of ${first.pod} ended with ${first.exitCode}: ${first.why}`;
  return new IsoergError(first?.exitCode === 2 ? "CONFIG" : "ENGINE", `${job} failed: ${reason}${cause}`, {
    hint: `What was saved is on the run's volume. To go on from there: ${remove}, then the same command.`,
  });
}

async function tellLog(cluster: Cluster, { pod, container }: Failure, say: (text: string) => void, signal: AbortSignal): Promise<void> {
  try {
    const lines = [];
    for await (const { text } of cluster.log(pod, container, { follow: false, tailLines: TAIL_LINES, signal })) lines.push(`  | ${text}`);
    say(lines.length === 0 ? `the log of ${pod} is empty, or gone with it` : `the end of the log of ${pod}:\n${lines.join("\n")}`);
  } catch (error) {
    say(`the log of ${pod} can't be read: ${(error as Error).message}`);
  }
}

/** The log of the pod that leads, then of the next one: each line once, however often the stream breaks. */
class CoordinatorLog {
  readonly #cluster: Cluster;
  readonly #say: (text: string) => void;
  readonly #signal: AbortSignal;
  #pod: V1Pod | null = null;
  #reading: Promise<void> = Promise.resolve();
  readonly #read = new Set<string>();

  constructor(cluster: Cluster, say: (text: string) => void, signal: AbortSignal) {
    this.#cluster = cluster;
    this.#say = say;
    this.#signal = signal;
  }

  /** The pod that leads now, as last seen. */
  see(pod: V1Pod | null): void {
    this.#pod = pod;
    if (pod === null) return;
    const name = nameOf(pod);
    if (this.#read.has(name)) return;
    this.#read.add(name);
    this.#reading = this.#reading.then(() => this.#follow(name)).catch((error: Error) => this.#say(`no log of ${name}: ${error.message}`));
  }

  /** Settles when all is said that pods which have ended had to say; a node that doesn't answer any more is not waited for. */
  async rest(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const enough = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, LOG_END_MS);
    });
    await Promise.race([this.#reading, enough]);
    clearTimeout(timer);
  }

  async #follow(name: string): Promise<void> {
    let last = "";
    for (;;) {
      const wasOver = this.#isOver(name);
      const told = last;
      // Of the second that `last` is in, all lines come again: those up to it are passed over.
      const since = last === "" ? {} : { sinceTime: `${last.slice(0, 19)}Z` };
      for await (const { time, text } of this.#cluster.log(name, "coordinator", { follow: true, ...since, signal: this.#signal })) {
        if (time <= told) continue;
        last = time;
        this.#say(text);
      }
      if (wasOver || this.#signal.aborted) return;
      await new Promise((resolve) => setTimeout(resolve, LOG_RETRY_MS));
    }
  }

  #isOver(name: string): boolean {
    return this.#pod === null || nameOf(this.#pod) !== name || hasEnded(this.#pod);
  }
}
