/** Base and overlays as the real kubectl builds them: every object valid, every pod as hardened as the base's. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { V1Container, V1Job } from "@kubernetes/client-node";
import { describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { GENERATED } from "../../src/cli/k8s.js";
import { renderJobSet } from "../../src/k8s/jobset.js";
import type { Manifest } from "../../src/k8s/objects.js";
import { renderTrainJob } from "../../src/k8s/trainer.js";
import { toFiles } from "../../src/k8s/write.js";
import { packageRoot } from "../../src/util/package.js";
import { crdProblemsOf, definitionOf } from "./crd.js";
import { findKubectl } from "./kubectl.js";
import { containersOf, options, podsOf, quickstart, rendered } from "./rendered.js";
import { problemsOf } from "./schema.js";

const folder = join(packageRoot, "k8s");
const overlays = readdirSync(join(folder, "overlays"));
const kubectl = await findKubectl();
if (typeof kubectl === "string") console.warn(`skipped: ${kubectl}`);

const problems = (object: Manifest): readonly string[] => (definitionOf(object) ? crdProblemsOf(object) : problemsOf(object));

async function build(path: string): Promise<readonly Manifest[]> {
  if (typeof kubectl === "string") throw new Error(kubectl);
  const text = await kubectl(["kustomize", join(folder, path)]);
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
}

const find = <T>(objects: readonly Manifest[], kind: string, name = "quickstart"): T => {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  expect(found, `${kind} ${name}`).toBeDefined();
  return found as unknown as T;
};

/** What makes a container safe, and a pod. */
const hardness = (objects: readonly Manifest[]) =>
  podsOf(objects).map((pod) => ({
    component: pod.template.metadata?.labels?.["app.kubernetes.io/component"],
    pod: pod.template.spec?.securityContext,
    token: pod.template.spec?.automountServiceAccountToken,
    containers: containersOf(pod).map(({ securityContext }) => securityContext),
    isGuaranteed: containersOf(pod).every(isGuaranteed),
  }));

const isGuaranteed = ({ resources }: V1Container): boolean => JSON.stringify(resources?.requests) === JSON.stringify(resources?.limits);

describe.skipIf(typeof kubectl === "string")("kubectl kustomize", () => {
  it("gives the base as it was rendered", async () => {
    const byName = (a: Manifest, b: Manifest): number => `${a.kind} ${a.metadata.name}`.localeCompare(`${b.kind} ${b.metadata.name}`, "en");
    expect([...(await build("base"))].sort(byName)).toEqual([...rendered()].sort(byName));
  });

  it.each(overlays)("%s: valid objects, pods as hard as the base's", async (name) => {
    const objects = await build(`overlays/${name}`);
    expect(objects.flatMap(problems)).toEqual([]);
    expect(hardness(objects)).toEqual(hardness(rendered()));
  });

  it("gpu: a GPU for each worker and none for the coordinator", async () => {
    const objects = await build("overlays/gpu");
    const [coordinator, workers] = podsOf(objects).map(containersOf);
    expect(workers?.map(({ image, resources }) => [image, resources?.limits?.["nvidia.com/gpu"]])).toEqual([["isoerg:cuda", "1"]]);
    expect(coordinator?.[0]?.resources?.limits).not.toHaveProperty(["nvidia.com/gpu"]);
    const direct = podsOf(rendered({ gpus: 1, worker: options().worker })).map(containersOf)[1]?.[0];
    expect([...(workers?.[0]?.args ?? [])].sort()).toEqual([...(direct?.args ?? [])].sort());
  });

  it("spot: workers that end within the notice, a coordinator that stays off such nodes", async () => {
    const objects = await build("overlays/spot");
    const workers = find<V1Job>(objects, "Job", "quickstart-workers").spec?.template.spec;
    expect(workers?.terminationGracePeriodSeconds).toBeLessThan(30);
    const terms = find<V1Job>(objects, "Job", "quickstart-coordinator").spec?.template.spec?.affinity?.nodeAffinity;
    const keys = terms?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms[0]?.matchExpressions?.map(({ key }) => key);
    for (const { key } of workers?.tolerations ?? []) expect(keys).toContain(key);
  });

  it("kueue: the same as rendering with a queue; the cluster's part is valid", async () => {
    const built = find<V1Job>(await build("overlays/kueue"), "Job", "quickstart-workers");
    expect(built).toEqual(
      rendered({ queue: "isoerg" }).find(({ kind, metadata }) => kind === "Job" && metadata.name === "quickstart-workers"),
    );
    expect((await build("overlays/kueue/cluster")).flatMap(problems)).toEqual([]);
  });

  it("jobset and trainer: one object for the Jobs and Services", async () => {
    for (const name of ["jobset", "trainer"]) {
      const kinds = (await build(`overlays/${name}`)).map(({ kind }) => kind);
      expect(kinds).not.toContain("Job");
      expect(kinds).not.toContain("Service");
    }
  });

  it("prometheus: lets the monitor at the metrics port and at nothing else", async () => {
    const objects = await build("overlays/prometheus");
    const monitor = find<{ spec: { selector: { matchLabels: object }; podMetricsEndpoints: { port: string }[] } }>(
      objects,
      "PodMonitor",
      "quickstart-coordinator",
    );
    const [coordinator] = podsOf(objects);
    expect(coordinator?.template.metadata?.labels).toMatchObject(monitor.spec.selector.matchLabels);
    const port = coordinator?.template.spec?.containers[0]?.ports?.find(({ name }) => name === monitor.spec.podMetricsEndpoints[0]?.port);
    const policy = find<{ spec: { ingress: { ports: { port: number }[] }[] } }>(objects, "NetworkPolicy", "quickstart-metrics");
    expect(policy.spec.ingress.flatMap(({ ports }) => ports.map((range) => range.port))).toEqual([port?.containerPort]);
  });
});

describe("the controllers' objects", () => {
  const forms = { jobset: renderJobSet(quickstart, options()), trainer: renderTrainJob(quickstart, options({ namespace: "team-a" })) };

  it.each(Object.entries(forms))("%s: are valid, in the CRD's schema and as Jobs within it", (_name, objects) => {
    expect(objects.flatMap(problems)).toEqual([]);
    const templates = jobTemplates(objects);
    expect(templates.length).toBe(2);
    for (const spec of templates) {
      const job = { apiVersion: "batch/v1", kind: "Job", metadata: { name: "within" }, spec } as unknown as Manifest;
      expect(problemsOf(job)).toEqual([]);
    }
  });

  it("a misspelt field, a wrong action and a missing name are found", () => {
    const set = find<{ spec: { failurePolicy: { rules: Record<string, unknown>[] }; replicatedJobs: object[] } }>(forms.jobset, "JobSet");
    const damaged = structuredClone(set);
    damaged.spec.failurePolicy.rules[1] = { action: "RestartPod", name: "otherwise", onJobFailureReason: [] };
    damaged.spec.replicatedJobs[0] = { replicas: 1, template: {} };
    expect(crdProblemsOf(damaged as unknown as Manifest)).toEqual([
      expect.stringContaining('rules[1].action: "RestartPod" is none of'),
      "JobSet quickstart.spec.failurePolicy.rules[1].onJobFailureReason is no field",
      "JobSet quickstart.spec.replicatedJobs[0].name is missing",
    ]);
  });

  it("ask for nothing behind a feature gate of JobSet, unless told to", () => {
    const alone = renderJobSet(quickstart, options({ restartJob: true }));
    expect(JSON.stringify(forms)).not.toContain('"RestartJob"');
    expect(JSON.stringify(alone)).toContain('"action":"RestartJob","targetReplicatedJobs":["coordinator","workers"]');
    expect(alone.flatMap(problems)).toEqual([]);
  });

  it("workers find the coordinator by the names that JobSet gives", () => {
    for (const objects of Object.values(forms)) {
      const [, workers] = podsOf(objects);
      const [container] = workers?.template.spec?.containers ?? [];
      expect(container?.args).toContain("--coordinator=$(JOBSET_NAME)-coordinator-0-0.$(JOBSET_NAME):7070");
      expect(container?.env?.map(({ name }) => name)).toContain("JOBSET_NAME");
    }
  });

  it("Trainer finds its step and its container", () => {
    const runtime = forms.trainer.find(({ kind }) => kind === "ClusterTrainingRuntime") as unknown as {
      spec: { mlPolicy: object; template: { spec: { replicatedJobs: { template: { metadata?: { labels: object }; spec: unknown } }[] } } };
    };
    expect(runtime.spec.mlPolicy).toEqual({ numNodes: 2 }); // and no framework's policy: the plain one
    const step = runtime.spec.template.spec.replicatedJobs[1]?.template;
    expect(step?.metadata?.labels).toEqual({ "trainer.kubeflow.org/trainjob-ancestor-step": "trainer" });
    expect(podsOf([step])[0]?.template.spec?.containers[0]?.name).toBe("node");
  });

  it.each([
    ["jobset", renderJobSet(quickstart, options())],
    ["trainer", renderTrainJob(quickstart, options())],
  ])("in overlays/%s are those rendered today", (name, objects) => {
    const files = toFiles(objects, GENERATED).filter((file) => existsSync(join(folder, "overlays", name, file.name)));
    const own = files.filter((file) => file.name !== "kustomization.yaml");
    expect(own.length).toBeGreaterThan(0);
    for (const file of own) expect(readFileSync(join(folder, "overlays", name, file.name), "utf8"), file.name).toBe(file.text);
  });
});

/** Specs of Jobs, however deep. */
function jobTemplates(objects: readonly unknown[]): readonly unknown[] {
  return objects.flatMap((object): readonly unknown[] => {
    if (typeof object !== "object" || object === null) return [];
    const { podFailurePolicy } = object as { podFailurePolicy?: unknown };
    return podFailurePolicy === undefined ? jobTemplates(Object.values(object)) : [object];
  });
}
