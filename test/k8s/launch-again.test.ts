/** The same command again: on a run that goes on, on what an earlier one left, in a queue. */
import { describe, expect, it } from "vitest";
import { api, bothRun, COORDINATOR, cluster, endsWell, start, useCluster, WORKERS } from "./launched.js";
import { BUCKET_OPTIONS, IN_BUCKET, rendered, renderedAt } from "./rendered.js";

useCluster();

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
    await endsWell(again, leader);
    expect(api.list("jobs")).toHaveLength(2);
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
