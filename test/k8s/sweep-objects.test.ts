/** What a study applies to a cluster: valid objects, as hard as a run's, with a way to its data and to nothing else. */
import { describe, expect, it } from "vitest";
import { k8sOptions, NO_BUCKET } from "../../src/k8s/options.js";
import { studyObjects, trialJob } from "../../src/k8s/sweep/trial-job.js";
import type { Job, JobPlan } from "../../src/sweep/job.js";
import { requestOf } from "../../src/sweep/trial/request.js";
import { isAllowed, OWN, outside, policiesOf } from "./reach.js";
import { containersOf, podsOf, quickstart } from "./rendered.js";
import { problemsOf } from "./schema.js";
import { configOf, DIGEST, inBucket, spec } from "./study.js";

describe("what a study applies", () => {
  const plan: JobPlan = { trial: 3, point: { "optimizer.lr": 0.002 }, from: 0.5, to: 1.5, copyOf: null };
  const job: Job = { index: 7, ...plan, result: null };

  it("is valid, and as hard as the pods of a run; data can't be written, and nothing is reached over the network", () => {
    const options = k8sOptions({ name: "tune", gpus: 1, queue: "research" });
    const request = requestOf({ spec, configOf, folder: "f", engine: { engine: "torch", device: "cuda", threads: 4 } }, job, job, 2);
    const objects = [...studyObjects(options, quickstart), trialJob(options, { job: 7, seed: 2, digest: DIGEST }, request)];
    expect(objects.flatMap(problemsOf)).toEqual([]);
    const [pod] = podsOf(objects);
    expect(pod?.template.spec).toMatchObject({ restartPolicy: "Never", automountServiceAccountToken: false });
    const [container] = pod === undefined ? [] : containersOf(pod);
    expect(container?.securityContext).toMatchObject({ readOnlyRootFilesystem: true, runAsNonRoot: true, capabilities: { drop: ["ALL"] } });
    expect(container?.resources?.limits).toMatchObject({ "nvidia.com/gpu": "1" });
    expect(container?.volumeMounts).toContainEqual({ name: "data", readOnly: true, mountPath: "/workspace/data" });
    const policy = objects.find(({ kind }) => kind === "NetworkPolicy") as unknown as { spec: { ingress: unknown[]; egress: unknown[] } };
    expect(policy.spec).toMatchObject({ policyTypes: ["Ingress", "Egress"], ingress: [], egress: [] });
    const claim = objects.find(({ metadata }) => metadata.name === "tune-runs") as unknown as { spec: { accessModes: string[] } };
    expect(claim.spec.accessModes).toEqual(["ReadWriteMany"]);
  });
});

describe("a study whose data are in a bucket", () => {
  const job: Job = { index: 0, trial: 0, point: { "optimizer.lr": 0.01 }, from: 0, to: 1, copyOf: null, result: null };
  const engine = { engine: "auto", device: "cpu", threads: 1 } as const;
  const request = requestOf({ spec, configOf: () => inBucket, folder: "f", engine }, job, job, 1);
  const place = { job: 0, seed: 1, digest: DIGEST };

  it("gives its trials credentials, a cache and the way there, and makes no claim for data", () => {
    const options = k8sOptions({ name: "tune", bucket: { ...NO_BUCKET, secret: "s3" } });
    const objects = [...studyObjects(options, inBucket), trialJob(options, place, request)];
    expect(objects.flatMap(problemsOf)).toEqual([]);
    expect(objects.flatMap(({ kind, metadata }) => (kind === "PersistentVolumeClaim" ? [metadata.name] : []))).toEqual(["tune-runs"]);
    const [container] = podsOf(objects).flatMap(containersOf);
    expect(container?.env?.map(({ name }) => name)).toEqual([
      "AWS_ACCESS_KEY_ID",
      "AWS_SECRET_ACCESS_KEY",
      "AWS_SESSION_TOKEN",
      "ISOERG_CACHE",
    ]);
    expect(container?.volumeMounts?.map(({ name }) => name)).toEqual(["runs", "cache", "tmp", "shm"]);
    const trial = { labels: podsOf(objects)[0]?.template.metadata?.labels ?? {}, namespace: OWN };
    expect(isAllowed(policiesOf(objects), trial, outside("10.0.7.1"), 9000)).toBe(true);
    expect(isAllowed(policiesOf(objects), trial, outside("10.0.7.1"), 443)).toBe(false);
    expect(isAllowed(policiesOf(objects), trial, outside("10.0.7.2"), 9000)).toBe(false);
  });

  it("is refused where nothing says as whom they are read", () => {
    expect(() => trialJob(k8sOptions({ name: "tune" }), place, request)).toThrow(
      "data.path is s3://models/cifar10, and nothing says as whom pods reach it",
    );
  });
});
