/** Rendered objects are valid, say what was asked for, and start commands that exist; the base in k8s/ is what is rendered today. */
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { V1Job } from "@kubernetes/client-node";
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { coordinatorCommand } from "../../src/cli/coordinator.js";
import { measureLines } from "../../src/cli/k8s/measure.js";
import { GENERATED } from "../../src/cli/k8s.js";
import { workerCommand } from "../../src/cli/worker.js";
import { loadConfig } from "../../src/config/load.js";
import { type Manifest, renderObjects } from "../../src/k8s/objects.js";
import { graceSecondsOf, k8sOptions, nameOf } from "../../src/k8s/options.js";
import { toFiles } from "../../src/k8s/write.js";
import { packageRoot } from "../../src/util/package.js";
import { containersOf, podsOf, quickstart, rendered, renderedAt } from "./rendered.js";
import { problemsOf } from "./schema.js";

const variants = {
  "as it is": {},
  "one GPU a pod": { gpus: 1 },
  "four GPUs a pod, in a queue": { gpus: 4, workers: 8, queue: "research", namespace: "team-a", storageClass: "fast" },
  "one worker, plaintext": { workers: 1, tls: false },
} as const;

function jobOf(objects: readonly Manifest[], name: string): V1Job {
  const job = objects.find((object) => object.kind === "Job" && object.metadata.name === name);
  expect(job, name).toBeDefined();
  return job as V1Job;
}

describe.each(Object.entries(variants))("a rendered run, %s,", (_name, over) => {
  const objects = rendered(over);

  it("is valid, field by field", () => {
    expect(objects.flatMap(problemsOf)).toEqual([]);
  });

  it("starts commands with options that they have, and with values that they take", async () => {
    const containers = podsOf(objects).flatMap(containersOf);
    expect(containers.length).toBe(1 + Math.max(1, "gpus" in over ? over.gpus : 0));
    for (const { args = [] } of containers) {
      const [verb, ...words] = args;
      const command = quiet(verb === "coordinator" ? coordinatorCommand() : workerCommand());
      const known = command.options.map(({ long }) => long);
      // TLS is a part of its own: where these commands have it, its flags are checked with all others.
      const asked = known.includes("--tls") ? words : words.filter((word) => !/^--(tls=|token-file=|insecure$)/.test(word));
      await expect(command.parseAsync(asked, { from: "user" }), args.join(" ")).resolves.toBeDefined();
    }
  });
});

describe("a workers' Job", () => {
  it.each([
    [{ workers: 2, minWorkers: 1 }, undefined], // with the last place
    [{ workers: 2, minWorkers: 2 }, 0],
    [{ workers: 8, minWorkers: 3 }, 5],
    [{ workers: 4, gpus: 8, minWorkers: 16 }, 2],
    [{ workers: 4, gpus: 8, minWorkers: 17 }, 1],
    [{ workers: 1, minWorkers: 1 }, undefined],
  ])("fails when the run can't go on with the places that are left: %o", (over, expected) => {
    expect(jobOf(rendered(over), "quickstart-workers").spec?.maxFailedIndexes).toBe(expected);
  });
});

it("a coordinator's template, which can't be changed, tells one experiment from another", () => {
  const [one, same, other] = [rendered(), rendered(), renderedAt(["epochs=3"])].map(
    (objects) => jobOf(objects, "quickstart-coordinator").spec?.template.metadata?.annotations,
  );
  expect(same).toEqual(one);
  expect(other).not.toEqual(one);
});

function quiet(command: Command): Command {
  return command
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .action(() => {});
}

describe("the validation itself", () => {
  const base = jobOf(rendered(), "quickstart-workers");

  it.each([
    ["a field that is misspelt", { ...base, spec: { ...base.spec, parallelizm: 2 } }, "parallelizm is no field of V1JobSpec"],
    ["a field of the wrong type", { ...base, spec: { ...base.spec, parallelism: "two" } }, "parallelism"],
    ["a field that is missing", { ...base, spec: { ...base.spec, template: undefined } }, "template"],
  ])("finds %s", (_name, job, word) => {
    expect(problemsOf(job as unknown as Manifest).join("\n")).toContain(word);
  });
});

describe("an experiment", () => {
  it("comes back from its ConfigMap as it was", () => {
    const map = rendered().find(({ kind }) => kind === "ConfigMap") as unknown as { data: Record<string, string> };
    const file = join(mkdtempSync(join(tmpdir(), "isoerg-k8s-")), "experiment.yaml");
    writeFileSync(file, map.data["experiment.yaml"] ?? "");
    expect(loadConfig({ source: file, env: {} }).config).toEqual(quickstart);
  });

  it.each([
    ["data/cifar10", { mountPath: "/workspace/data" }],
    ["/datasets/imagenet", { mountPath: "/datasets" }],
    ["cifar10", { mountPath: "/workspace/cifar10", subPath: "cifar10" }],
  ])("with its data at %s finds them there", (path, mount) => {
    const config = { ...quickstart, data: { ...quickstart.data, path } };
    const job = jobOf(renderObjects(config, k8sOptions({ name: "quickstart" })), "quickstart-coordinator");
    const [container] = job.spec?.template.spec?.containers ?? [];
    expect(container?.volumeMounts).toContainEqual({ name: "data", readOnly: true, ...mount });
  });

  it.each([
    ["quickstart", "quickstart"],
    ["Stronger_Alignment (2)", "stronger-alignment-2"],
    ["50-steps", "run-50-steps"],
    [`${"long-".repeat(12)}name`, `${"long-".repeat(7)}long`],
  ])("called %s makes a run called %s", (experiment, name) => {
    expect(nameOf(experiment)).toBe(name);
    expect(k8sOptions({ name }).name).toBe(name);
  });
});

describe("options", () => {
  it.each([
    [{ name: "Upper" }, "can't be the name of a run"],
    [{ name: "x".repeat(41) }, "can't be the name of a run"],
    [{ name: "a", queue: "two words" }, "--queue 'two words' is no name"],
    [{ name: "a", runStorage: "much" }, "--run-storage much is no quantity"],
    [{ name: "a", workers: 2, gpus: 2, minWorkers: 5 }, "--min-workers 5 is more than the 4 there are"],
  ])("%j is refused", (given, message) => {
    expect(() => k8sOptions(given)).toThrow(message);
  });

  it("count a process a GPU, with a GPU, a name and ports of its own", () => {
    const objects = rendered({ gpus: 4, workers: 8 });
    const [coordinator, workers] = [jobOf(objects, "quickstart-coordinator"), jobOf(objects, "quickstart-workers")];
    expect(coordinator.spec?.template.spec?.containers[0]?.args).toContain("--workers=32");
    expect(workers.spec).toMatchObject({ completionMode: "Indexed", completions: 8, parallelism: 8 });
    const containers = workers.spec?.template.spec?.containers ?? [];
    expect(containers.map(({ resources }) => resources?.limits?.["nvidia.com/gpu"])).toEqual(["1", "1", "1", "1"]);
    const flag = (name: string) => containers.map(({ args = [] }) => args.find((arg) => arg.startsWith(name))?.slice(name.length + 1));
    expect(flag("--data-ports")).toEqual(["7100-7115", "7116-7131", "7132-7147", "7148-7163"]);
    expect(new Set(flag("--id")).size).toBe(4);
    expect(new Set(flag("--health")).size).toBe(4);
    expect(workers.spec?.template.spec?.shareProcessNamespace).toBe(true);
  });

  it("put the workers, and only them, into a queue that starts and resizes them", () => {
    const objects = rendered({ queue: "research" });
    const workers = jobOf(objects, "quickstart-workers");
    expect(workers.metadata?.labels).toMatchObject({ "kueue.x-k8s.io/queue-name": "research" });
    expect(workers.metadata?.annotations).toEqual({ "kueue.x-k8s.io/elastic-job": "true" });
    expect(workers.spec?.suspend).toBe(true);
    expect(jobOf(objects, "quickstart-coordinator").spec?.suspend).toBeUndefined();
  });
});

describe("the grace period", () => {
  const at = (ms: number) => new Date(1_700_000_000_000 + ms).toISOString();

  it("leaves time for a step and two saves, twice, as a run's journal measured them", () => {
    const commits = Array.from({ length: 100 }, (_, step) => JSON.stringify({ event: "commit", step, time: at(4000 * step) }));
    const saves = [3000, 20_000].map((ms, i) => JSON.stringify({ event: "checkpoint", step: i, ms, time: at(0) }));
    const measured = measureLines([...commits, ...saves, '{"event":"commit","st']);
    expect(measured).toEqual({ saveMs: 20_000, stepMs: 4000 });
    expect(graceSecondsOf(measured)).toBe(2 * (5 + 4 + 40) + 15);
  });

  it("is never below a minute, and two minutes where nothing was measured", () => {
    expect(graceSecondsOf({ saveMs: 10, stepMs: 10 })).toBe(60);
    expect(graceSecondsOf(measureLines([""]))).toBe(120);
  });
});

describe("k8s/base", () => {
  it("is what `isoerg k8s render quickstart --out k8s/base` writes", () => {
    const folder = join(packageRoot, "k8s", "base");
    const found = readdirSync(folder).map((name) => ({ name, text: readFileSync(join(folder, name), "utf8") }));
    const byName = (a: { name: string }, b: { name: string }): number => a.name.localeCompare(b.name, "en");
    expect(found.sort(byName)).toEqual([...toFiles(rendered(), GENERATED)].sort(byName));
  });
});
