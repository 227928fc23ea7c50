/** `isoerg launch` against an API server that speaks HTTP: the way to the end of a run, and what can keep it from beginning. */
import { describe, expect, it } from "vitest";
import { launchCommand } from "../../src/cli/launch.js";
import { Cluster } from "../../src/k8s/launch/cluster.js";
import { toYamlStream } from "../../src/k8s/write.js";
import { exitCodeOf } from "../../src/util/error.js";
import { isOver } from "./fake-controllers.js";
import { RESOURCES } from "./fake-resources.js";
import { api, bothRun, COORDINATOR, cluster, endsWell, kubeconfig, start, useCluster, WORKERS, withoutServer } from "./launched.js";
import { BUCKET_OPTIONS, IN_BUCKET, rendered, renderedAt } from "./rendered.js";

useCluster();

function resourceOf(kind: string): string {
  const [resource] = Object.entries(RESOURCES).find(([, known]) => known.kind === kind) ?? [];
  if (resource === undefined) throw new Error(`the API server of the tests has no ${kind}`);
  return resource;
}

describe("a launched run", () => {
  it("is applied whole, shows the coordinator's progress, and ends with the run", async () => {
    const run = start();
    const leader = await bothRun();
    expect(api.list("networkpolicies").length).toBe(3);
    api.writeLog(leader, "waiting for 2 workers", "step 1/100  loss 2.3");
    await run.said("step 1/100");
    api.writeLog(leader, "100 of 100 steps are saved");
    await endsWell(run, leader);
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
    await endsWell(run, second);
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
    await endsWell(run, second);
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
    await endsWell(run, leader);
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
    await withoutServer(async () => {
      expect((await start().ended) as Error).toMatchObject({ code: "NETWORK", message: expect.stringContaining("can't be reached") });
    });
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
