/**
 * What a launcher makes of the cluster's objects: pure functions from Jobs and pods, as they are seen, to what is worth a line and to
 * how the run stands. No clock, no network. The rules are Kubernetes' own: a Job's conditions decide, pods explain.
 */
import type { CoreV1Event, V1ContainerStatus, V1Job, V1JobCondition, V1Pod } from "@kubernetes/client-node";
import { coordinatorName, workersName } from "../names.js";

/** Something to tell a person, once for each key. */
export interface Remark {
  readonly key: string;
  readonly text: string;
}

/** A container that ended as it should not have, and whose log is worth reading. */
export interface Failure {
  readonly pod: string;
  readonly container: string;
  readonly exitCode: number;
  readonly why: string;
  readonly endedAtMs: number;
}

export type Standing =
  | { readonly kind: "underWay" }
  | { readonly kind: "finished" }
  /** `job` gave up; `other` is left over. */
  | { readonly kind: "failed"; readonly job: string; readonly other: string; readonly reason: string };

/** Exit codes that Kubernetes answers by starting another pod, at no cost: src/cli/README.md. */
const IN_ORDER: ReadonlySet<number> = new Set([0, 75, 143]);
const CANT_START: ReadonlySet<string> = new Set([
  "ErrImagePull",
  "ImagePullBackOff",
  "InvalidImageName",
  "CreateContainerConfigError",
  "CreateContainerError",
]);

/** What a pod says of itself that a person should know. */
export function remarksOn(pod: V1Pod): readonly Remark[] {
  const name = nameOf(pod);
  const remarks: Remark[] = [];
  const say = (key: string, text: string): void =>
    void remarks.push({ key: `${pod.metadata?.uid ?? name} ${key}`, text: `${name}: ${text}` });
  const { conditions = [], containerStatuses = [] } = pod.status ?? {};
  for (const { type, status, reason, message } of conditions) {
    if (type === "PodScheduled" && status === "False" && reason === "Unschedulable")
      say(`unschedulable ${message}`, `waits for a node: ${message}`);
    if (type === "DisruptionTarget" && status === "True")
      say(`disrupted ${reason}`, `is taken away: ${message ?? reason}${reason === "DeletionByTaintManager" ? ofLostNode(pod) : ""}`);
  }
  for (const container of containerStatuses) {
    const waiting = container.state?.waiting;
    if (waiting?.reason !== undefined && CANT_START.has(waiting.reason))
      say(`waiting ${waiting.reason}`, `can't start: ${waiting.reason}${waiting.message === undefined ? "" : `: ${waiting.message}`}`);
  }
  const failure = failureOf(pod);
  if (failure) say("failed", `ended with ${failure.exitCode}: ${failure.why}`);
  return remarks;
}

/** Two pods of one place are never there at a time (podReplacementPolicy), and of a node that is cut off nobody knows. */
function ofLostNode({ spec }: V1Pod): string {
  return `; if its node is lost, another comes when the node answers again or is deleted (kubectl delete node ${spec?.nodeName})`;
}

/** Events of what would otherwise be waited for without a word: a volume, a Secret, a pod that may not be made. */
const HINDRANCES: Readonly<Record<string, string>> = {
  FailedMount: "can't start yet",
  FailedAttachVolume: "can't start yet",
  FailedCreatePodSandBox: "can't start yet",
  FailedCreate: "can't make a pod",
};

/** @param owners uids of the objects that are the run's */
export function remarksOnEvents(events: readonly CoreV1Event[], owners: ReadonlySet<string>): readonly Remark[] {
  return events.flatMap(({ involvedObject, reason = "", message = "" }) => {
    const what = HINDRANCES[reason];
    const uid = involvedObject.uid ?? "";
    if (what === undefined || !owners.has(uid)) return [];
    const same = message.replaceAll(/"[^"]*"/g, '""'); // each try has a new pod's name in it
    return [{ key: `${uid} ${reason} ${reason === "FailedCreate" ? same : message}`, text: `${involvedObject.name}: ${what}: ${message}` }];
  });
}

/** The earliest failure among pods. */
export function firstFailure(pods: readonly V1Pod[]): Failure | null {
  const failures = pods.flatMap((pod) => failureOf(pod) ?? []);
  return failures.sort((a, b) => a.endedAtMs - b.endedAtMs)[0] ?? null;
}

/** The first container that failed, unless the pod was taken away or ended in order. */
export function failureOf(pod: V1Pod): Failure | null {
  const isDisrupted = (pod.status?.conditions ?? []).some(({ type, status }) => type === "DisruptionTarget" && status === "True");
  if (isDisrupted) return null;
  const ended = (pod.status?.containerStatuses ?? []).filter(({ state }) => state?.terminated && !IN_ORDER.has(state.terminated.exitCode));
  ended.sort((a, b) => endedAt(a) - endedAt(b));
  const [first] = ended;
  const terminated = first?.state?.terminated;
  if (first === undefined || terminated === undefined) return null;
  return {
    pod: nameOf(pod),
    container: first.name,
    exitCode: terminated.exitCode,
    why: whyEnded(terminated.exitCode, terminated.reason),
    endedAtMs: endedAt(first),
  };
}

function endedAt({ state }: V1ContainerStatus): number {
  return new Date(state?.terminated?.finishedAt ?? 0).getTime();
}

function whyEnded(exitCode: number, reason: string | undefined): string {
  if (reason === "OOMKilled") return "it used more memory than its limit; give --memory more";
  if (exitCode === 2) return "wrong input; the same would happen again";
  if (exitCode === 137) return "killed";
  return reason === undefined || reason === "Error" ? "failed" : reason;
}

/** A Job's own words: that it waits in a queue (each time), that it has given up places, that it is about to fail. */
export function remarksOnJob(job: V1Job): readonly Remark[] {
  const name = job.metadata?.name ?? "";
  const remarks: Remark[] = [];
  const say = (key: string, text: string): void => void remarks.push({ key: `${name} ${key}`, text: `${name}: ${text}` });
  const suspended = conditionOf(job, "Suspended");
  if (suspended) {
    const queue = job.metadata?.labels?.["kueue.x-k8s.io/queue-name"];
    const since = new Date(suspended.lastTransitionTime ?? 0).toISOString();
    say(`suspended ${since}`, queue === undefined ? "is suspended" : `waits in the queue ${queue}`);
  }
  const { failedIndexes, active = 0, terminating = 0 } = job.status ?? {};
  if (failedIndexes) say(`gave up ${failedIndexes}`, `has failed too often at index ${failedIndexes}, which is given up`);
  const failing = conditionOf(job, "FailureTarget");
  if (failing && !conditionOf(job, "Failed") && active + terminating > 0)
    say("fails", `fails: ${failing.message ?? failing.reason}; what runs of it ends first`);
  return remarks;
}

function conditionOf(job: V1Job | undefined, wanted: string): V1JobCondition | undefined {
  return job?.status?.conditions?.find(({ type, status }) => type === wanted && status === "True");
}

/** @param name of the run @param jobs its Jobs, as last seen */
export function standingOf(name: string, jobs: readonly V1Job[]): Standing {
  const [coordinator, workers] = [coordinatorName(name), workersName(name)];
  const called = (job: string) => jobs.find(({ metadata }) => metadata?.name === job);
  if (conditionOf(called(coordinator), "Complete")) return { kind: "finished" };
  for (const [job, other] of [
    [coordinator, workers],
    [workers, coordinator],
  ] as const) {
    const failed = conditionOf(called(job), "Failed");
    // A worker that ended well says that the run has ended: its Job fails for a place given up long before, and the coordinator is saving.
    if (job === workers && (called(job)?.status?.succeeded ?? 0) > 0) continue;
    if (failed) return { kind: "failed", job, other, reason: failed.message ?? failed.reason ?? "it failed" };
  }
  return { kind: "underWay" };
}

/** Whether the workers' Job has ended, or is gone; pods of it that came when the run had ended wait for a coordinator that won't come. */
export function haveWorkersEnded(name: string, jobs: readonly V1Job[]): boolean {
  const job = jobs.find(({ metadata }) => metadata?.name === workersName(name));
  return job === undefined || conditionOf(job, "Complete") !== undefined || conditionOf(job, "Failed") !== undefined;
}

/** The coordinator's pod whose log is to be followed now: the newest that has started, one that runs before one that has ended. */
export function leadingPod(name: string, pods: readonly V1Pod[]): V1Pod | null {
  const started = pods.filter(
    ({ metadata, status }) =>
      metadata?.labels?.["app.kubernetes.io/component"] === "coordinator" &&
      metadata.labels["app.kubernetes.io/instance"] === name &&
      (status?.containerStatuses ?? []).some(({ state }) => state?.running ?? state?.terminated),
  );
  const bornAt = ({ metadata }: V1Pod): number => new Date(metadata?.creationTimestamp ?? 0).getTime();
  // Times of creation are whole seconds: two pods may have the same.
  return started.sort((a, b) => Number(hasEnded(a)) - Number(hasEnded(b)) || bornAt(b) - bornAt(a))[0] ?? null;
}

export function hasEnded(pod: V1Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

export function nameOf(pod: V1Pod): string {
  return pod.metadata?.name ?? "";
}
