/** What the launcher says on the way of pods that end, wait or are not made. */
import { describe, expect, it } from "vitest";
import type { Stored } from "./fake-api.js";
import { api, bothRun, COORDINATOR, cluster, endsWell, start, useCluster, WORKERS } from "./launched.js";
import { rendered } from "./rendered.js";

useCluster();

describe("the launcher says", () => {
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
    await endsWell(run, leader);
  });

  it("takes an eviction for what it is: no failure, another pod", async () => {
    const run = start();
    const leader = await bothRun();
    const worker = await cluster.pod(WORKERS, "0");
    cluster.end(worker, 143, { disruption: "Eviction API: evicting" });
    await run.said(`${worker}: is taken away: Eviction API: evicting`);
    cluster.run(await cluster.pod(WORKERS, "0"));
    await endsWell(run, leader);
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
    await endsWell(run, leader);
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
    await endsWell(run, leader);
    expect(run.lines.join("\n")).not.toContain("forbidden");
  });
});
