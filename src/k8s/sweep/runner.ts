/**
 * Runs a sweep's jobs on a cluster: a Job for each training, as many at a time as the study asks for, since a study's job trains its
 * seeds one after the other. The API server is where their state is: this process may die at any moment, and asks for the same names
 * when it comes again. A training whose Job is gone, or can no longer say how it ended, is asked for again; its checkpoint on the
 * study's claim makes that cheap. What is cancelled is deleted.
 */
import type { V1Job, V1Pod } from "@kubernetes/client-node";
import type { Runner } from "../../sweep/runner.js";
import type { FinalReply } from "../../sweep/trial/answer.js";
import { type RequestOptions, requestOf, resultOf } from "../../sweep/trial/request.js";
import { IsoergError } from "../../util/error.js";
import type { Cluster } from "../launch/cluster.js";
import { remarksOn, remarksOnJob } from "../launch/view.js";
import type { K8sOptions } from "../options.js";
import type { PlacedConfig } from "../places/needs.js";
import { podsOf, standingOfTrial, type TrialStanding } from "./standing.js";
import { studyFolder, studyObjects, studySelector, type TrialPlace, trialJob, trialName } from "./trial-job.js";

export interface ClusterRunnerOptions extends Omit<RequestOptions, "folder"> {
  readonly cluster: Cluster;
  readonly options: K8sOptions;
  /** Of the sweep as it was begun. */
  readonly digest: string;
  /** Of any trial: all of them have their data at one place. */
  readonly config: PlacedConfig;
  /** A line for a person. */
  readonly say: (text: string) => void;
}

export interface ClusterRunner extends Runner {
  /** Follows no longer. */
  close(): Promise<void>;
}

/** In a row, before a training that nobody can read is given up. */
const MAX_ASKED = 5;
/** A Job that has not been seen so long after it was applied is applied again: it was deleted in between. */
const UNSEEN_MS = 60_000;

type End = Exclude<TrialStanding, { kind: "underWay" }> | { readonly kind: "gone" };

/** Applies what the trials stand on, and begins to follow them. @throws IsoergError where the cluster refuses */
export async function createClusterRunner(given: ClusterRunnerOptions): Promise<ClusterRunner> {
  const { cluster, options, digest, spec, say } = given;
  const foundation = studyObjects(options, given.config);
  for (const object of foundation) await cluster.apply(object);
  const view = new StudyView(cluster, studySelector(options.name, digest), say);
  const folder = studyFolder(options.name, digest);

  const train = async (place: TrialPlace, request: ReturnType<typeof requestOf>, signal: AbortSignal): Promise<FinalReply> => {
    const name = trialName(options.name, place);
    if (JSON.stringify(studyObjects(options, request.config)) !== JSON.stringify(foundation))
      throw new IsoergError("CONFIG", `${name}: its data at ${request.config.data.path} are not to be reached`, {
        hint: `on Kubernetes all trials of a study have their data on the claim, or at one store, as the experiment has (${given.config.data.path})`,
      });
    const manifest = trialJob(options, place, request);
    try {
      for (let asked = 0; asked < MAX_ASKED; asked++) {
        signal.throwIfAborted();
        const uid = await cluster.apply(manifest);
        const end = await view.endOf(uid, name, signal);
        if (end.kind === "answered") return end.reply;
        if (end.kind === "broken") return { kind: "failed", reason: end.reason, how: "broke" };
        if (end.kind === "hopeless")
          throw new IsoergError("CONFIG", `no trial can run: ${end.reason}`, { hint: "is --image of this version?" });
        if (end.kind === "silent") await cluster.remove(name);
        say(`${name}: ${end.kind === "gone" ? "its Job is gone" : "its answer is lost"}; it is asked for again`);
      }
      return { kind: "failed", reason: `${name} was lost ${MAX_ASKED} times`, how: "broke" };
    } catch (error) {
      if (signal.aborted) await cluster.remove(name).catch((failure: Error) => say(`${name} could not be deleted: ${failure.message}`));
      throw error;
    }
  };

  return {
    run: ({ job, source }, signal) =>
      resultOf(spec, (seed) => train({ job: job.index, seed, digest }, requestOf({ ...given, folder }, job, source ?? job, seed), signal)),
    close: () => view.close(),
  };
}

/** The study's Jobs and pods as last seen, and who waits for one of them. */
class StudyView {
  readonly #cluster: Cluster;
  readonly #selector: string;
  readonly #over = new AbortController();
  readonly #following: Promise<unknown>;
  readonly #lookers = new Set<() => void>();
  readonly #said = new Set<string>();
  readonly #say: (text: string) => void;
  /** Of Jobs, by uid. */
  readonly #seen = new Set<string>();
  #jobs: readonly V1Job[] = [];
  #pods: readonly V1Pod[] = [];
  #failure: Error | null = null;

  constructor(cluster: Cluster, selector: string, say: (text: string) => void) {
    this.#cluster = cluster;
    this.#selector = selector;
    this.#say = say;
    this.#following = Promise.all([
      cluster.follow("jobs", selector, (jobs) => this.#see({ jobs }), this.#over.signal),
      cluster.follow("pods", selector, (pods) => this.#see({ pods }), this.#over.signal),
    ]).catch((failure: Error) => this.#see({ failure }));
  }

  /** Waits until the Job of a uid has ended, or is gone after it was there. */
  async endOf(uid: string, name: string, signal: AbortSignal): Promise<End> {
    const since = performance.now();
    for (;;) {
      signal.throwIfAborted();
      if (this.#failure) throw this.#failure;
      const job = this.#jobs.find(({ metadata }) => metadata?.uid === uid && metadata.deletionTimestamp === undefined);
      if (job) {
        const standing = standingOfTrial(job, podsOf(name, this.#pods));
        // News of a Job's end may come before that of its pod: what there is now decides.
        const end = standing.kind === "silent" ? standingOfTrial(job, podsOf(name, await this.#cluster.pods(this.#selector))) : standing;
        if (end.kind !== "underWay") return end;
      } else if (this.#seen.has(uid) || performance.now() - since > UNSEEN_MS) return { kind: "gone" };
      await this.#change(signal);
    }
  }

  async close(): Promise<void> {
    this.#over.abort();
    await this.#following;
  }

  #see(seen: { jobs?: readonly V1Job[]; pods?: readonly V1Pod[]; failure?: Error }): void {
    this.#jobs = seen.jobs ?? this.#jobs;
    this.#pods = seen.pods ?? this.#pods;
    this.#failure = seen.failure ?? this.#failure;
    for (const { metadata } of this.#jobs) this.#seen.add(metadata?.uid ?? "");
    for (const { key, text } of [...this.#jobs.flatMap(remarksOnJob), ...this.#pods.flatMap(remarksOn)]) {
      if (this.#said.has(key)) continue;
      this.#said.add(key);
      this.#say(text);
    }
    for (const look of [...this.#lookers]) look();
  }

  /** Settles with the next change, the signal, or after a while. */
  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", look);
        this.#lookers.delete(look);
        resolve();
      };
      const timer = setTimeout(look, UNSEEN_MS);
      signal.addEventListener("abort", look, { once: true });
      this.#lookers.add(look);
    });
  }
}
