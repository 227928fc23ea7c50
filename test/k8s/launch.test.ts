/** `isoerg launch` against an API server that speaks HTTP: the whole way to the end, and what can go wrong on it. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { launchCommand } from "../../src/cli/launch.js";
import { Cluster } from "../../src/k8s/launch/cluster.js";
import { launch } from "../../src/k8s/launch/launch.js";
import { toYamlStream } from "../../src/k8s/write.js";
import { exitCodeOf } from "../../src/util/error.js";
import { FakeApi, type Stored } from "./fake-api.js";
import { FakeControllers, isOver } from "./fake-controllers.js";
import { RESOURCES } from "./fake-resources.js";
import { findKubectl } from "./kubectl.js";
import { BUCKET_OPTIONS, IN_BUCKET, rendered, renderedAt } from "./rendered.js";

const COORDINATOR = "quickstart-coordinator";
const WORKERS = "quickstart-workers";

let api: FakeApi;
let cluster: FakeControllers;
let kubeconfig: string;
beforeEach(async () => {
  api = await FakeApi.start();
  cluster = new FakeControllers(api);
  kubeconfig = join(mkdtempSync(join(tmpdir(), "isoerg-kubeconfig-")), "config");
  writeFileSync(kubeconfig, api.kubeconfig());
});
afterEach(() => api.close());

interface Launched {
  readonly lines: string[];
  readonly ended: Promise<unknown>;
  /** Settles when a line that holds the words has been said. */
  said(words: string): Promise<void>;
  stop(): void;
}

function start(objects = rendered()): Launched {
  const lines: string[] = [];
  const waiting: { words: string; resolve: () => void }[] = [];
  const wish = new AbortController();
  const say = (text: string): void => {
    lines.push(text);
    for (const { words, resolve } of waiting) if (text.includes(words)) resolve();
  };
  const options = {
    cluster: new Cluster({ kubeconfig, namespace: null }),
    name: "quickstart",
    objects,
    say,
    signal: wish.signal,
    workersEndMs: 0,
  };
  return {
    lines,
    ended: launch(options).then(
      () => null,
      (error: unknown) => error,
    ),
    said: (words) =>
      lines.some((line) => line.includes(words)) ? Promise.resolve() : new Promise((resolve) => waiting.push({ words, resolve })),
    stop: () => wish.abort(),
  };
}

function resourceOf(kind: string): string {
  const [resource] = Object.entries(RESOURCES).find(([, known]) => known.kind === kind) ?? [];
  if (resource === undefined) throw new Error(`the API server of the tests has no ${kind}`);
  return resource;
}

/** Both kinds of pod run. @returns the coordinator's */
async function bothRun(): Promise<string> {
  const leader = await cluster.pod(COORDINATOR);
  cluster.run(leader);
  for (const index of ["0", "1"]) cluster.run(await cluster.pod(WORKERS, index));
  return leader;
}

describe("a launched run", () => {
  it("is applied whole, shows the coordinator's progress, and ends with the run", async () => {
    const run = start();
    const leader = await bothRun();
    expect(api.list("networkpolicies").length).toBe(3);
    api.writeLog(leader, "waiting for 2 workers", "step 1/100  loss 2.3");
    await run.said("step 1/100");
    api.writeLog(leader, "100 of 100 steps are saved");
    for (const index of ["0", "1"]) cluster.end(await cluster.pod(WORKERS, index), 0);
    cluster.end(leader, 0);
    expect(await run.ended).toBeNull();
    expect(run.lines).toEqual([
      expect.stringContaining("applied 12 objects to default on http://127.0.0.1:"),
      "waiting for 2 workers",
      "step 1/100  loss 2.3",
      "100 of 100 steps are saved",
      "the run quickstart has finished",
    ]);
  });

  it.each([
    ["as it is", rendered()],
    ["in a queue, with a bucket", renderedAt(IN_BUCKET, { ...BUCKET_OPTIONS, queue: "research", gpus: 2, minWorkers: 3 })],
  ])("reaches the server as it was rendered, every field of it: %s", async (_name, objects) => {
    const run = start(objects);
    await run.said("applied ");
    for (const object of objects) {
      const sent = api.list(resourceOf(object.kind)).find(({ metadata }) => metadata.name === object.metadata.name);
      expect(sent).toMatchObject(object);
    }
    run.stop();
    await run.ended;
  });

  it("survives a killed worker, tells why it ended with the end of its log, and follows its successor", async () => {
    const run = start();
    const leader = await bothRun();
    const worker = await cluster.pod(WORKERS, "1");
    api.writeLog(worker, "step 7", "allocating");
    cluster.end(worker, 137, { reason: "OOMKilled" });
    await run.said("the end of the log");
    expect(run.lines.join("\n")).toContain(`${worker}: ended with 137: it used more memory than its limit; give --memory more`);
    expect(run.lines.join("\n")).toContain(`the end of the log of ${worker}:\n  | step 7\n  | allocating`);
    const successor = await cluster.pod(WORKERS, "1");
    expect(successor).not.toBe(worker);
    cluster.run(successor);
    for (const index of ["0", "1"]) cluster.end(await cluster.pod(WORKERS, index), 0);
    cluster.end(leader, 0);
    expect(await run.ended).toBeNull();
  });

  it("takes an eviction for what it is: no failure, another pod", async () => {
    const run = start();
    const leader = await bothRun();
    const worker = await cluster.pod(WORKERS, "0");
    cluster.end(worker, 143, { disruption: "Eviction API: evicting" });
    await run.said(`${worker}: is taken away: Eviction API: evicting`);
    cluster.run(await cluster.pod(WORKERS, "0"));
    for (const index of ["0", "1"]) cluster.end(await cluster.pod(WORKERS, index), 0);
    cluster.end(leader, 0);
    expect(await run.ended).toBeNull();
    expect(run.lines.join("\n")).not.toContain("ended with");
  });

  it("says what a pod on a lost node waits for", async () => {
    const run = start();
    await bothRun();
    const worker = await cluster.pod(WORKERS, "1");
    const message = "Taint manager: deleting due to NoExecute taint";
    api.update("pods", worker, (pod) => {
      pod.metadata.deletionTimestamp = "2026-01-01T00:00:00Z";
      pod.spec.nodeName = "node-2";
      pod.status.conditions = [{ type: "DisruptionTarget", status: "True", reason: "DeletionByTaintManager", message }];
    });
    await run.said("another comes when the node answers again or is deleted (kubectl delete node node-2)");
    run.stop();
    await run.ended;
  });

  it("says once what pods wait for: a node, an image, a queue", async () => {
    const run = start(rendered({ queue: "research" }));
    await run.said("quickstart-workers: waits in the queue research");
    const leader = await cluster.pod(COORDINATOR);
    for (let i = 0; i < 3; i++) cluster.unschedulable(leader, "0/2 nodes are available: 2 Insufficient cpu.");
    await run.said("waits for a node: 0/2 nodes are available");
    cluster.cantPull(leader, "isoerg:cpu: not found");
    await run.said("can't start: ImagePullBackOff: isoerg:cpu: not found");
    api.update("jobs", WORKERS, (job) => {
      job.spec.suspend = false; // admitted
    });
    await bothRun();
    for (const index of ["0", "1"]) cluster.end(await cluster.pod(WORKERS, index), 0);
    cluster.end(leader, 0);
    expect(await run.ended).toBeNull();
    expect(run.lines.filter((line) => line.includes("waits for a node"))).toHaveLength(1);
  });

  it("says why pods are not made, or don't start, as only events tell, and only of its own", async () => {
    const run = start();
    const leader = await cluster.pod(COORDINATOR);
    await cluster.pod(WORKERS);
    const of = (kind: string, object: Stored | undefined) => ({ kind, name: object?.metadata.name, uid: object?.metadata.uid });
    const warn = (name: string, involvedObject: object, reason: string, message: string): unknown =>
      api.create("events", { apiVersion: "v1", kind: "Event", metadata: { name }, type: "Warning", reason, message, involvedObject });
    const secret = 'MountVolume.SetUp failed for volume "token" : secret "quickstart-token" not found';
    for (const name of ["a", "b"]) warn(name, of("Pod", cluster.active(COORDINATOR)), "FailedMount", secret);
    const workers = api.list("jobs").find(({ metadata }) => metadata.name === WORKERS);
    warn("c", { kind: "Pod", name: "other", uid: "other" }, "FailedMount", secret);
    warn("d", of("Pod", cluster.active(COORDINATOR)), "Unhealthy", "Startup probe failed");
    for (const tried of ["x", "y"])
      warn(`e-${tried}`, of("Job", workers), "FailedCreate", `pods "quickstart-workers-0-${tried}" is forbidden: exceeded quota`);
    await run.said(`${WORKERS}: can't make a pod: pods "quickstart-workers-0-x" is forbidden: exceeded quota`);
    expect(run.lines.slice(1)).toEqual([`${leader}: can't start yet: ${secret}`, expect.stringContaining("can't make a pod")]);
    run.stop();
    await run.ended;
  });

  it("needs no right to read events", async () => {
    api.intercept = (_method, path) => (path.endsWith("/events") ? { code: 403, message: "events is forbidden" } : null);
    const run = start();
    const leader = await bothRun();
    for (const index of ["0", "1"]) cluster.end(await cluster.pod(WORKERS, index), 0);
    cluster.end(leader, 0);
    expect(await run.ended).toBeNull();
    expect(run.lines.join("\n")).not.toContain("forbidden");
  });

  it("follows a coordinator that is deleted, and whose log goes with it", async () => {
    const run = start();
    const first = await bothRun();
    api.writeLog(first, "step 5/100");
    await run.said("step 5/100");
    cluster.terminate(first);
    const second = await cluster.pod(COORDINATOR);
    cluster.run(second);
    api.writeLog(second, "coordinator 2 of the run: 5 steps are committed");
    await run.said("coordinator 2 of the run");
    for (const index of ["0", "1"]) cluster.end(await cluster.pod(WORKERS, index), 0);
    cluster.end(second, 0);
    expect(await run.ended).toBeNull();
    expect(run.lines.slice(1)).toEqual([
      "step 5/100",
      "coordinator 2 of the run: 5 steps are committed",
      "the run quickstart has finished",
    ]);
  });

  it("follows a coordinator that is replaced", async () => {
    const run = start();
    const first = await bothRun();
    api.writeLog(first, "step 5/100");
    await run.said("step 5/100");
    cluster.end(first, 143);
    const second = await cluster.pod(COORDINATOR);
    cluster.run(second);
    api.writeLog(second, "coordinator 2 of the run: 5 steps are committed");
    await run.said("coordinator 2 of the run");
    for (const index of ["0", "1"]) cluster.end(await cluster.pod(WORKERS, index), 0);
    cluster.end(second, 0);
    expect(await run.ended).toBeNull();
  });

  it("tells each line once when log streams break, and misses nothing when watches end and the past is forgotten", async () => {
    const run = start();
    const leader = await bothRun();
    api.writeLog(leader, "one", "two");
    await run.said("two");
    api.breakLog(leader);
    api.compact();
    api.writeLog(leader, "three");
    await run.said("three");
    for (const index of ["0", "1"]) cluster.end(await cluster.pod(WORKERS, index), 0);
    cluster.end(leader, 0);
    expect(await run.ended).toBeNull();
    expect(run.lines.filter((line) => /^(one|two|three)$/.test(line))).toEqual(["one", "two", "three"]);
  });

  it("fails with 2 on wrong input, and leaves no worker waiting", async () => {
    const run = start();
    const leader = await bothRun();
    api.writeLog(leader, "error: data/cifar10 is not there");
    cluster.end(leader, 2);
    const error = await run.ended;
    expect(exitCodeOf(error)).toBe(2);
    expect((error as Error).message).toContain(
      `${COORDINATOR} failed: Container coordinator for pod default/${leader} failed with exit code 2 matching FailJob rule at index 0`,
    );
    expect(run.lines.join("\n")).toContain("  | error: data/cifar10 is not there");
    expect(api.list("jobs").find(({ metadata }) => metadata.name === WORKERS)?.spec.suspend).toBe(true);
    expect(cluster.active(WORKERS, "0")).toBeUndefined();
  });

  it("leaves no worker behind that was being replaced when the run ended", async () => {
    const run = start();
    const leader = await bothRun();
    cluster.end(await cluster.pod(WORKERS, "0"), 0);
    cluster.end(await cluster.pod(WORKERS, "1"), 143);
    await cluster.pod(WORKERS, "1"); // it would look for a coordinator that has gone
    cluster.end(leader, 0);
    expect(await run.ended).toBeNull();
    expect(run.lines.slice(-2)).toEqual(["the run quickstart has finished", `${WORKERS} is suspended`]);
    await cluster.until(() => cluster.active(WORKERS, "1") === undefined);
  });

  it("goes on without a place that has failed too often, and tells which", async () => {
    const run = start();
    const leader = await bothRun();
    for (let i = 0; i < 6; i++) cluster.end(await cluster.pod(WORKERS, "1"), 1);
    await run.said(`${WORKERS}: has failed too often at index 1, which is given up`);
    expect(cluster.active(WORKERS, "1")).toBeUndefined();
    // Workers end well when the run has ended; their Job, of which one place has failed, fails then.
    cluster.end(await cluster.pod(WORKERS, "0"), 0);
    await cluster.until(() => api.list("jobs").some((job) => job.metadata.name === WORKERS && isOver(job)));
    api.writeLog(leader, "100 of 100 steps are saved");
    await run.said("100 of 100");
    cluster.end(leader, 0);
    expect(await run.ended).toBeNull();
    expect(run.lines.at(-1)).toBe("the run quickstart has finished");
  });

  it.each([
    [2, "Job has exceeded the specified maximal number of failed indexes", ["1"]],
    [1, "Job has failed indexes", ["0", "1"]],
  ])("fails with 1 when fewer places than %i worker needs are left, and names what failed first", async (minWorkers, why, indexes) => {
    const run = start(rendered({ minWorkers }));
    await bothRun();
    const first = await cluster.pod(WORKERS, indexes[0]);
    for (const index of indexes) for (let i = 0; i < 6; i++) cluster.end(await cluster.pod(WORKERS, index), 1);
    const error = await run.ended;
    expect(exitCodeOf(error)).toBe(1);
    expect((error as Error).message).toBe(`${WORKERS} failed: ${why}; first, worker of ${first} ended with 1: failed`);
    expect(api.list("jobs").find(({ metadata }) => metadata.name === COORDINATOR)?.spec.suspend).toBe(true);
  });

  it("goes on in the cluster when its launcher is interrupted, and the same command follows it again", async () => {
    const run = start();
    const leader = await bothRun();
    api.writeLog(leader, "step 9/100");
    await run.said("step 9/100");
    run.stop();
    expect(await run.ended).toMatchObject({ code: "STOPPED", message: "no longer followed; the run quickstart goes on in the cluster" });
    expect(cluster.active(COORDINATOR)).toBeDefined();
    const again = start();
    await again.said("step 9/100");
    for (const index of ["0", "1"]) cluster.end(await cluster.pod(WORKERS, index), 0);
    cluster.end(leader, 0);
    expect(await again.ended).toBeNull();
    expect(api.list("jobs")).toHaveLength(2);
  });
});

describe("a run that is launched again", () => {
  const policies = (): readonly string[] => api.list("networkpolicies").map(({ metadata }) => metadata.name);
  const inBucket = renderedAt(IN_BUCKET, BUCKET_OPTIONS);

  it("without its bucket loses the way to it, and nothing that others made", async () => {
    const first = start(inBucket);
    await cluster.pod(WORKERS);
    first.stop();
    await first.ended;
    expect(policies()).toContain("quickstart-bucket");
    const metrics = {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { ...rendered()[0]?.metadata, name: "quickstart-metrics" },
    };
    api.create("networkpolicies", metrics);
    for (const job of [COORDINATOR, WORKERS]) api.remove("jobs", job);
    const again = start();
    await again.said("deleted what is not of this run any more: NetworkPolicy quickstart-bucket");
    expect(policies()).toEqual(["quickstart-deny", "quickstart-coordinator", "quickstart-workers", "quickstart-metrics"]);
    again.stop();
    await again.ended;
  });

  it("takes a claim that is there as it is, whatever its size and class, and whoever made it", async () => {
    const claim = { kind: "PersistentVolumeClaim", apiVersion: "v1", metadata: { name: "isoerg-data" } };
    const spec = { accessModes: ["ReadOnlyMany"], storageClassName: "slow", volumeName: "v7", resources: { requests: { storage: "3Ti" } } };
    api.create("persistentvolumeclaims", { ...claim, spec });
    const run = start(rendered({ storageClass: "fast" }));
    await cluster.pod(WORKERS);
    expect(api.list("persistentvolumeclaims").find(({ metadata }) => metadata.name === "isoerg-data")?.spec).toEqual(spec);
    run.stop();
    await run.ended;
  });

  it("waits for what is being deleted, which would go with what is applied to it", async () => {
    const claim = rendered().find(({ kind, metadata }) => kind === "PersistentVolumeClaim" && metadata.name === "quickstart-runs");
    api.create("persistentvolumeclaims", claim as object);
    api.update("persistentvolumeclaims", "quickstart-runs", ({ metadata }) => {
      metadata.deletionTimestamp = "2026-01-01T00:00:00Z";
    });
    const run = start();
    await run.said("waits for PersistentVolumeClaim quickstart-runs, which is being deleted");
    expect(api.list("serviceaccounts")).toEqual([]);
    api.remove("persistentvolumeclaims", "quickstart-runs");
    await cluster.pod(WORKERS);
    expect(api.list("persistentvolumeclaims").map(({ metadata }) => metadata.name)).toContain("quickstart-runs");
    run.stop();
    await run.ended;
  });

  it("goes on where it may not look for policies, and says so", async () => {
    api.intercept = (method, path) =>
      method === "GET" && path.endsWith("/networkpolicies") ? { code: 403, message: 'User "tester" cannot list' } : null;
    const run = start();
    await run.said('policies of an earlier run may be left: network policies of default: not allowed: User "tester" cannot list');
    await cluster.pod(WORKERS);
    run.stop();
    await run.ended;
  });
});

describe("a queued run", () => {
  it("tells of each time that it waits", async () => {
    const run = start(rendered({ queue: "research" }));
    const setSuspended = (suspend: boolean): void =>
      api.update("jobs", WORKERS, (job) => {
        job.spec.suspend = suspend;
        // The condition's time is in whole seconds.
        if (!suspend && job.status?.conditions) job.status.conditions[0].lastTransitionTime = "2026-01-01T00:00:00Z";
      });
    await run.said("waits in the queue research");
    setSuspended(false);
    await bothRun();
    setSuspended(true);
    await cluster.until(() => cluster.active(WORKERS, "0") === undefined);
    setSuspended(false);
    await bothRun();
    run.stop();
    await run.ended;
    expect(run.lines.filter((line) => line.includes("waits in the queue"))).toHaveLength(2);
  });

  it("that was admitted stays so when it is launched, and so followed, again", async () => {
    const objects = rendered({ queue: "research" });
    const run = start(objects);
    await run.said("waits in the queue research");
    api.update("jobs", WORKERS, (job) => {
      job.spec.suspend = false;
    });
    await bothRun();
    run.stop();
    await run.ended;
    const again = start(objects);
    await again.said("applied 12 objects");
    expect(api.list("jobs").find(({ metadata }) => metadata.name === WORKERS)?.spec.suspend).toBe(false);
    expect(cluster.active(WORKERS, "1")).toBeDefined();
    again.stop();
    await again.ended;
  });
});

describe("a launch that can't begin", () => {
  it.each<[string, () => void, string]>([
    [
      "no right",
      () => {
        api.intercept = (method) => (method === "PATCH" ? { code: 403, message: 'User "tester" cannot patch' } : null);
      },
      'ServiceAccount quickstart: not allowed: User "tester" cannot patch',
    ],
    [
      "another run of that name",
      () => {
        const other = rendered({ image: "isoerg:other" }).find(({ kind, metadata }) => kind === "Job" && metadata.name === COORDINATOR);
        if (other) api.create("jobs", other);
      },
      "Job quickstart-coordinator is there already, with other settings that can't be changed: " +
        'Job.batch "quickstart-coordinator" is invalid: spec.template: field is immutable',
    ],
    [
      "another experiment under that name",
      () => {
        const other = renderedAt(["epochs=3"]).find(({ kind, metadata }) => kind === "Job" && metadata.name === COORDINATOR);
        if (other) api.create("jobs", other);
      },
      "Job quickstart-coordinator is there already, with other settings",
    ],
  ])("says why, and has changed nothing: %s", async (_name, prepare, message) => {
    prepare();
    const error = await start().ended;
    expect((error as Error).message).toContain(message);
    expect((error as Error).message.length).toBeLessThan(300);
    expect(exitCodeOf(error)).toBe(2);
    expect(api.list("configmaps")).toEqual([]);
  });

  it("says that there is no server", async () => {
    await api.close();
    expect((await start().ended) as Error).toMatchObject({ code: "NETWORK", message: expect.stringContaining("can't be reached") });
    api = await FakeApi.start();
  });

  it("says that there is no such context, and no such kubeconfig", () => {
    expect(() => new Cluster({ kubeconfig, context: "other", namespace: null })).toThrow("the kubeconfig has no context 'other'");
    expect(() => new Cluster({ kubeconfig: "/nowhere/config", namespace: null })).toThrow("the kubeconfig can't be read");
  });
});

describe("--dry-run", () => {
  it("prints the objects and asks no cluster", async () => {
    const said: string[] = [];
    const write = process.stdout.write;
    process.stdout.write = ((text: string) => said.push(text) > 0) as typeof write;
    try {
      await launchCommand().parseAsync(["quickstart", "--on", "kubernetes", "--dry-run", "--kubeconfig", "/nowhere"], { from: "user" });
    } finally {
      process.stdout.write = write;
    }
    expect(said.join("")).toBe(toYamlStream(rendered()));
  });
});

const kubectl = await findKubectl();
if (typeof kubectl === "string") console.warn(`skipped: ${kubectl}`);

describe.skipIf(typeof kubectl === "string")("the fake API server, driven by the real kubectl,", () => {
  const ask = async (...args: string[]): Promise<string> =>
    typeof kubectl === "string" ? "" : kubectl(["--kubeconfig", kubeconfig, ...args]);

  it("takes the base, shows its pods, follows a log, waits, and deletes", async () => {
    const base = join(import.meta.dirname, "..", "..", "k8s", "base");
    const applied = await ask("apply", "--server-side", "--validate=false", "-k", base);
    expect(applied.trim().split("\n")).toHaveLength(12);
    expect(applied).toContain("job.batch/quickstart-workers serverside-applied");
    const leader = await bothRun();
    expect(await ask("get", "pods", "-l", "app.kubernetes.io/instance=quickstart", "-o", "name")).toContain(`pod/${leader}`);
    api.writeLog(leader, "step 1/100");
    cluster.end(leader, 0);
    expect(await ask("logs", leader, "-c", "coordinator")).toBe("step 1/100\n");
    expect(await ask("wait", "--for=condition=Complete", "job/quickstart-coordinator", "--timeout=10s")).toContain("condition met");
    await ask("delete", "job", "quickstart-workers", "--wait=false");
    expect(api.list("jobs")).toHaveLength(1);
  });
});
