/** Sweeps on a cluster: against an API server that speaks HTTP, with trials that a function stands for. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Config } from "../../src/config/schema.js";
import { Cluster } from "../../src/k8s/launch/cluster.js";
import { k8sOptions } from "../../src/k8s/options.js";
import { type ClusterRunner, createClusterRunner } from "../../src/k8s/sweep/runner.js";
import { studyFolder, trialJob } from "../../src/k8s/sweep/trial-job.js";
import type { Job, Result } from "../../src/sweep/job.js";
import { openStudy } from "../../src/sweep/journal.js";
import { runStudy } from "../../src/sweep/run-study.js";
import type { Runner } from "../../src/sweep/runner.js";
import { createStrategy } from "../../src/sweep/spec.js";
import { requestOf, requestSchema, resultOf, type TrialReply, type TrialRequest } from "../../src/sweep/trial/request.js";
import { FakeApi, type Stored } from "./fake-api.js";
import { FakeControllers, isOver } from "./fake-controllers.js";
import { quickstart } from "./rendered.js";
import { configOf, DIGEST, inBucket, spec } from "./study.js";

vi.setConfig({ testTimeout: 300_000 });

/** What a training would come to: a function of the settings, the seed and the epochs. */
function worth({ config, toEpochs }: TrialRequest): number {
  return 0.5 - Math.abs(Math.log(config.optimizer.lr / 4e-3)) / 10 + toEpochs / 100 + config.seed / 1e4;
}

const judged = (robust: number): TrialReply => ({ kind: "judged", metrics: { clean: 0.5, robust, worst: robust, gap: null } });

let api: FakeApi;
let controllers: FakeControllers;
let folder: string;
let runners: ClusterRunner[];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "isoerg-k8s-sweep-"));
  api = await FakeApi.start();
  controllers = new FakeControllers(api);
  writeFileSync(join(folder, "kubeconfig"), api.kubeconfig());
  runners = [];
});
afterEach(async () => {
  for (const runner of runners) await runner.close();
  await api.close();
  rmSync(folder, { recursive: true, force: true });
});

const isTrial = ({ metadata }: Stored): boolean => metadata.labels?.["app.kubernetes.io/component"] === "trial";

/** The kubelet's part: what a trial's pod is asked, and its answer. Counts pods, and how many there are at once. */
function answering(
  answer: (request: TrialRequest, pod: string, times: number) => { code?: number; message?: string; reason?: string } | null,
) {
  const seen = { pods: [] as string[], atOnce: 0 };
  api.onChange((resource, type, pod) => {
    if (resource !== "pods" || type !== "ADDED" || !isTrial(pod)) return;
    const { name, labels } = pod.metadata;
    const job = labels?.["batch.kubernetes.io/job-name"] as string;
    seen.pods.push(job);
    seen.atOnce = Math.max(seen.atOnce, api.list("pods").filter(({ status }) => status.phase === "Pending").length);
    const reply = answer(requestIn(pod), name, seen.pods.filter((other) => other === job).length);
    if (reply === null) return;
    setImmediate(() => {
      if (api.list("pods").some(({ metadata }) => metadata.name === name))
        controllers.end(name, reply.code ?? 0, {
          ...(reply.message !== undefined && { message: reply.message }),
          ...(reply.reason !== undefined && { reason: reply.reason }),
        });
    });
  });
  return seen;
}

/** As Kubernetes hands the words to the process: $$ is one $, and $(NAME) stands for nothing here. */
function requestIn({ spec: { containers } }: Stored): TrialRequest {
  const word = (containers[0].args as string[]).find((arg) => arg.startsWith("--request="))?.slice("--request=".length) as string;
  return requestSchema.parse(JSON.parse(word.replaceAll(/\$(\$|\([A-Z]+\))/g, (_all, what: string) => (what === "$" ? "$" : "EXPANDED"))));
}

const worked = (request: TrialRequest) => ({ message: JSON.stringify(judged(worth(request))) });

interface Study {
  readonly jobs: readonly Job[];
  readonly said: string[];
}

/** Goes on with the study of a folder. @param over what ends it before its end: a process that dies does nothing any more */
async function work(
  name: string,
  over: {
    readonly wrap?: (cluster: Cluster) => Cluster;
    readonly signal?: AbortSignal;
    readonly queue?: string;
    readonly configOf?: typeof configOf;
  } = {},
): Promise<Study> {
  const cluster = new Cluster({ kubeconfig: join(folder, "kubeconfig"), namespace: null });
  const said: string[] = [];
  const runner = await createClusterRunner({
    cluster: over.wrap?.(cluster) ?? cluster,
    options: k8sOptions({ name: "tune", ...(over.queue !== undefined && { queue: over.queue }) }),
    digest: DIGEST,
    spec,
    configOf: over.configOf ?? configOf,
    config: quickstart,
    engine: { engine: "auto", device: "cpu", threads: 1 },
    say: (text) => said.push(text),
  });
  if (over.wrap === undefined) runners.push(runner);
  return { ...(await study(name, runner, over.signal)), said };
}

async function study(name: string, runner: Runner, signal = new AbortController().signal): Promise<{ jobs: readonly Job[] }> {
  const journal = openStudy(join(folder), { sweep: name, digest: DIGEST, now: () => new Date(0) });
  try {
    await runStudy({ study: journal, ...createStrategy(spec, 4.5), parallel: spec.parallel, runner, signal });
    return { jobs: journal.jobs };
  } finally {
    journal.close();
  }
}

/** The same study, with the function asked directly. */
async function undisturbed(): Promise<readonly Job[]> {
  const other = mkdtempSync(join(folder, "undisturbed-"));
  const journal = openStudy(other, { sweep: "s", digest: DIGEST, now: () => new Date(0) });
  const runner: Runner = {
    async run({ job, source }): Promise<Result> {
      const engine = { engine: "auto", device: "cpu", threads: 1 } as const;
      return resultOf(spec, async (seed) => judged(worth(requestOf({ spec, configOf, folder: "f", engine }, job, source ?? job, seed))));
    },
  };
  await runStudy({ study: journal, ...createStrategy(spec, 4.5), parallel: spec.parallel, runner, signal: new AbortController().signal });
  journal.close();
  return journal.jobs;
}

/** A launcher that can die: from then on it asks nothing, hears nothing, and deletes nothing. */
function mortal(cluster: Cluster): { cluster: Cluster; die: () => void } {
  let isDead = false;
  const death = new AbortController();
  const never = new Promise<never>(() => {});
  const gated = new Proxy(cluster, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      return (...words: unknown[]) => {
        if (isDead) return never;
        const own = words.map((word) => {
          if (word instanceof AbortSignal) return AbortSignal.any([word, death.signal]); // its connections go with it
          return typeof word === "function" ? (...seen: unknown[]) => (isDead ? undefined : word(...seen)) : word;
        });
        return (value.apply(target, own) as Promise<unknown>).then(
          (result) => (isDead ? never : result),
          (error: unknown) => (isDead ? never : Promise.reject(error)),
        );
      };
    },
  });
  return {
    cluster: gated,
    die: () => {
      isDead = true;
      death.abort();
    },
  };
}

describe("a study on a cluster", () => {
  it("ends as on one machine; no more Jobs at a time than it asks for, each run once", async () => {
    const seen = answering(worked);
    const { jobs } = await work("whole");
    expect(jobs).toEqual(await undisturbed());
    expect(jobs.length).toBeGreaterThan(7);
    expect(seen.atOnce).toBeLessThanOrEqual(spec.parallel);
    expect(seen.pods).toHaveLength(2 * jobs.length);
    expect(new Set(seen.pods).size).toBe(seen.pods.length);
    expect(new Set(seen.pods)).toContain("tune-j0000-s2");
  });

  it("whose launcher dies twice finds its Jobs again: none lost, none run twice, the same promotions", async () => {
    const seen = answering(worked);
    for (const deathAfter of [5, 11]) {
      let ended = 0;
      await new Promise<void>((resolve) => {
        const wrap = (cluster: Cluster): Cluster => {
          const life = mortal(cluster);
          api.onChange((resource, type, job) => {
            if (resource === "jobs" && type === "MODIFIED" && isOver(job) && ++ended === deathAfter) {
              life.die();
              resolve();
            }
          });
          return life.cluster;
        };
        void work("killed", { wrap });
      });
      // What was under way goes on without a launcher.
      await controllers.until(() => api.list("jobs").every(isOver));
    }
    const { jobs } = await work("killed");
    expect(jobs).toEqual(await undisturbed());
    expect(new Set(seen.pods).size).toBe(seen.pods.length);
    expect(seen.pods).toHaveLength(2 * jobs.length);
  });

  it("that is cancelled deletes the Jobs under way, and goes on later", async () => {
    const stop = new AbortController();
    let isHeld = true;
    const seen = answering((request) => (isHeld && seen.pods.length > 6 ? null : worked(request)));
    const working = work("cancelled", { signal: stop.signal });
    await controllers.until(() => seen.pods.length >= 9);
    const held = api.list("jobs").filter((job) => !isOver(job));
    expect(held.length).toBeGreaterThan(0);
    stop.abort(new Error("Ctrl-C"));
    await expect(working).rejects.toThrow("Ctrl-C");
    expect(api.list("jobs").filter((job) => !isOver(job))).toEqual([]);
    await controllers.until(() => api.list("pods").every(({ status }) => status.phase === "Succeeded"));
    isHeld = false;
    expect((await work("cancelled")).jobs).toEqual(await undisturbed());
  });

  it("waits in its queue, and says so", async () => {
    answering(worked);
    const working = work("queued", { queue: "research" });
    await controllers.until(() => api.list("jobs").length === spec.parallel);
    expect(api.list("pods")).toEqual([]);
    for (const { metadata, spec: jobSpec } of api.list("jobs")) {
      expect(metadata.labels).toMatchObject({ "kueue.x-k8s.io/queue-name": "research" });
      expect(jobSpec.suspend).toBe(true);
    }
    const admit = ({ metadata, spec: jobSpec }: Stored): void => {
      if (jobSpec.suspend === true)
        api.update("jobs", metadata.name, (job) => {
          job.spec.suspend = false;
        });
    };
    api.onChange((resource, type, job) => {
      if (resource === "jobs" && type === "ADDED") setImmediate(() => admit(job));
    });
    for (const job of api.list("jobs")) admit(job);
    const { jobs, said } = await working;
    expect(jobs).toEqual(await undisturbed());
    expect(said).toContain("tune-j0000-s1: waits in the queue research");
  });

  it("asks again for a Job that somebody deleted, and for an answer that was lost", async () => {
    const seen = answering((request, _pod, times) => {
      const [last] = seen.pods.slice(-1);
      if (last === "tune-j0001-s1" && times === 1) {
        setImmediate(() => api.remove("jobs", "tune-j0001-s1"));
        return null;
      }
      return last === "tune-j0002-s2" && times === 1 ? { message: "" } : worked(request);
    });
    const { jobs, said } = await work("lost");
    expect(jobs).toEqual(await undisturbed());
    expect(said).toContain("tune-j0001-s1: its Job is gone; it is asked for again");
    expect(said).toContain("tune-j0002-s2: its answer is lost; it is asked for again");
    expect(seen.pods).toHaveLength(2 * jobs.length + 2);
  });

  it("takes a training that failed, and one that was killed each time, for results", async () => {
    answering((request, pod) => {
      if (pod.startsWith("tune-j0001-s1"))
        return { message: JSON.stringify({ kind: "failed", reason: "the loss is not a number", how: "diverged" }) };
      return pod.startsWith("tune-j0002-s1") ? { code: 137, reason: "OOMKilled" } : worked(request);
    });
    const { jobs } = await work("failures");
    expect(jobs[1]?.result).toEqual({ kind: "failed", reason: "the loss is not a number", how: "diverged" });
    expect(jobs[2]?.result).toEqual({
      kind: "failed",
      how: "broke",
      reason:
        "tune-j0002-s1: Job has reached the specified backoff limit; ended with 137: it used more memory than its limit; give --memory more",
    });
    expect(jobs.filter(({ result }) => result?.kind === "value").length).toBeGreaterThan(4);
  });

  it("ends where the image doesn't understand what it is asked, and leaves nothing running", async () => {
    answering((_request, pod) => (pod.startsWith("tune-j0000") ? { code: 2, message: "error: unknown option\n" } : null));
    await expect(work("wrong")).rejects.toMatchObject({ code: "CONFIG", message: expect.stringContaining("ended with 2") });
    expect(api.list("jobs").filter((job) => !isOver(job))).toEqual([]);
  });

  it("does not take the Jobs of another study of that name for its own", async () => {
    const job = { index: 0, trial: 0, point: { "optimizer.lr": 0.001 }, from: 0, to: 0.5, copyOf: null, result: null };
    const request = requestOf({ spec, configOf, folder: "f", engine: { engine: "auto", device: "cpu", threads: 1 } }, job, job, 1);
    api.create("jobs", trialJob(k8sOptions({ name: "tune" }), { job: 0, seed: 1, digest: "fedcba9876543210" }, request));
    await expect(work("other")).rejects.toMatchObject({
      code: "USAGE",
      message: expect.stringContaining("tune-j0000-s1 is there already"),
    });
    expect(studyFolder("tune", DIGEST)).not.toBe(studyFolder("tune", "fedcba9876543210"));
  });

  it("is refused where the trials' data are elsewhere than the experiment's: the way there is the study's", async () => {
    for (const path of ["s3://models/cifar10", "file:///mnt/sets/cifar10"]) {
      const elsewhere = (): Config => ({ ...inBucket, data: { ...inBucket.data, path } });
      await expect(work(path.slice(0, 4), { configOf: elsewhere })).rejects.toMatchObject({
        code: "CONFIG",
        message: `tune-j0000-s1: its data at ${path} are not to be reached`,
      });
    }
    expect(api.list("jobs")).toEqual([]);
  });
});
