/**
 * One training of a sweep as a Job: the same program as on one machine, asked by a word of its command line, answering in the
 * container's termination message. All that it needs is in the Job, so that there is one object for each training, made or not made;
 * its name follows from the study's decision, so that whoever asks again finds it rather than a second one.
 *
 * What a trial leaves (checkpoints that later rungs, and other trials, go on from) is on the study's claim, which pods on several nodes
 * mount at once. A training that is asked for again, after its Job is gone, finds its last checkpoint there and only judges it.
 */
import type { KubernetesObject, V1Job } from "@kubernetes/client-node";
import type { TrialRequest } from "../../sweep/trial/request.js";
import { claims } from "../coordinator.js";
import { failurePolicy } from "../failure-policy.js";
import { labelsOf, WORKSPACE } from "../names.js";
import { denyAll } from "../network-policy.js";
import { asManifests, type Manifest, serviceAccount } from "../objects.js";
import type { K8sOptions } from "../options.js";
import { needsOf, type PlacedConfig, placePolicies, refuseIdle } from "../places/needs.js";
import { hardenedContainer, hardenedPod } from "../pod.js";

/** Which study a Job belongs to; part of its template, which can't be changed: a Job of another study of that name is refused. */
export const STUDY_LABEL = "isoerg/study";
export const ANSWER_FILE = "/dev/termination-log";

/** Pods that fail for reasons of their own (killed, out of memory) are replaced so often. */
const BACKOFF_LIMIT = 2;
/** A finished Job is kept for a sweep that is not there to read its answer; later asking again costs a judgement. */
const KEEP_SECONDS = 7 * 86_400;
/** A training in progress can't save: it ends at once. */
const GRACE_SECONDS = 10;

export interface TrialPlace {
  /** Index of the study's job, and the seed. */
  readonly job: number;
  readonly seed: number;
  /** Of the sweep as it was begun. */
  readonly digest: string;
}

export function trialName(name: string, { job, seed }: Pick<TrialPlace, "job" | "seed">): string {
  return `${name}-j${String(job).padStart(4, "0")}-s${seed}`;
}

/** Folder of a study on its claim: another study of the same name has another. */
export function studyFolder(name: string, digest: string): string {
  return `runs/${name}-${digest.slice(0, 12)}`;
}

/** Selects the Jobs and pods of one study. */
export function studySelector(name: string, digest: string): string {
  return Object.entries(trialLabels(name, digest))
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}

function trialLabels(name: string, digest: string): Record<string, string> {
  return { ...labelsOf(name, "trial"), [STUDY_LABEL]: digest.slice(0, 12) };
}

/**
 * What all trials of a study stand on: account, claims, and a network that lets nothing in, and nothing out but to the bucket that
 * holds the data, if one does.
 * @param config of any trial @throws IsoergError USAGE for data that the options don't lead to, and options that lead nowhere
 */
export function studyObjects(options: K8sOptions, config: PlacedConfig): readonly Manifest[] {
  refuseIdle(["trial"], config, options);
  return asManifests(options, [
    serviceAccount(options),
    ...claims(options, config, "ReadWriteMany"),
    denyAll(options.name),
    ...placePolicies(["trial"], config, options),
  ]);
}

export function trialJob(options: K8sOptions, place: TrialPlace, request: TrialRequest): Manifest {
  const { name, queue, shmMiB } = options;
  const labels = trialLabels(name, place.digest);
  const needs = needsOf("trial", request.config, options);
  const container = hardenedContainer({
    name: "trial",
    image: options.image,
    args: ["sweep", "trial", `--request=${literal(JSON.stringify(request))}`, `--answer=${ANSWER_FILE}`],
    env: needs.env,
    resources: options.worker,
    shmMiB,
    diskMiB: needs.cacheMiB,
    gpus: options.gpus,
    mounts: [{ name: "runs", mountPath: `${WORKSPACE}/runs` }, ...needs.mounts],
  });
  const job: V1Job & KubernetesObject = {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name: trialName(name, place), labels: { ...labels, ...(queue !== null && { "kueue.x-k8s.io/queue-name": queue }) } },
    spec: {
      ...(queue !== null && { suspend: true }), // until Kueue admits it
      backoffLimit: BACKOFF_LIMIT,
      ttlSecondsAfterFinished: KEEP_SECONDS,
      podFailurePolicy: failurePolicy(),
      podReplacementPolicy: "Failed",
      template: {
        metadata: { labels },
        spec: hardenedPod({
          serviceAccount: needs.account ?? name,
          containers: [container],
          volumes: [{ name: "runs", persistentVolumeClaim: { claimName: `${name}-runs` } }, ...needs.volumes],
          graceSeconds: GRACE_SECONDS,
          shmMiB,
        }),
      },
    },
  };
  return asManifests(options, [job])[0] as Manifest;
}

/** Kubernetes replaces $(NAME) in arguments, and reads $$ as one $. */
function literal(text: string): string {
  return text.replaceAll("$", "$$$$");
}
