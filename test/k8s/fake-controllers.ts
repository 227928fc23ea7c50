/**
 * What stands behind an API server, for tests: the Job controller's rules (indexes, podFailurePolicy, back-off limits, suspension),
 * and the ends of pods as a kubelet or an eviction reports them. Only when a test says so does anything run or fail.
 */
import type { V1ContainerStatus, V1PodFailurePolicyRule } from "@kubernetes/client-node";
import type { FakeApi, Stored } from "./fake-api.js";

const INDEX = "batch.kubernetes.io/job-completion-index";

export class FakeControllers {
  readonly #api: FakeApi;
  readonly #counted = new Map<string, Map<string, number>>();
  readonly #handled = new Set<string>();
  #numPods = 0;
  readonly #waiting: { wanted: () => boolean; resolve: () => void }[] = [];

  constructor(api: FakeApi) {
    this.#api = api;
    api.onChange((resource, type, { metadata }) => {
      if (resource === "jobs" && type === "DELETED") queueMicrotask(() => this.#collect(metadata.name));
      if (resource === "jobs" || (resource === "pods" && type !== "ADDED")) queueMicrotask(() => this.#reconcile());
      queueMicrotask(() => this.#wake());
    });
  }

  /** Settles when a condition on the objects holds, looked at after every change. */
  until(wanted: () => boolean): Promise<void> {
    if (wanted()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ wanted, resolve }));
  }

  #wake(): void {
    for (const waiting of [...this.#waiting]) {
      if (!waiting.wanted()) continue;
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
      waiting.resolve();
    }
  }

  /** The pod of a Job (and index) that has not ended. */
  active(job: string, index = "0"): Stored | undefined {
    return this.#podsOf(job).find((pod) => isActive(pod) && pod.metadata.annotations?.[INDEX] === index);
  }

  async pod(job: string, index = "0"): Promise<string> {
    await this.until(() => this.active(job, index) !== undefined);
    return (this.active(job, index) as Stored).metadata.name;
  }

  run(pod: string): void {
    this.#api.writeLog(pod);
    this.#api.update("pods", pod, (object) => {
      object.status.phase = "Running";
      object.status.conditions = [{ type: "PodScheduled", status: "True" }];
      object.status.containerStatuses = statuses(object, { running: { startedAt: stamp() } });
    });
  }

  unschedulable(pod: string, message: string): void {
    this.#api.update("pods", pod, (object) => {
      object.status.conditions = [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message }];
    });
  }

  cantPull(pod: string, message: string): void {
    this.#api.update("pods", pod, (object) => {
      object.status.containerStatuses = statuses(object, { waiting: { reason: "ImagePullBackOff", message } });
    });
  }

  /** @param message what the container wrote as its termination message */
  end(
    pod: string,
    exitCode: number,
    { reason, disruption, message }: { reason?: string; disruption?: string; message?: string } = {},
  ): void {
    this.#api.endLog(pod);
    this.#api.update("pods", pod, (object) => {
      object.status.phase = exitCode === 0 ? "Succeeded" : "Failed";
      if (disruption !== undefined)
        object.status.conditions = [{ type: "DisruptionTarget", status: "True", reason: "EvictionByEvictionAPI", message: disruption }];
      const terminated = {
        exitCode,
        reason: reason ?? (exitCode === 0 ? "Completed" : "Error"),
        finishedAt: stamp(),
        ...(message !== undefined && { message }),
      };
      object.status.containerStatuses = statuses(object, { terminated });
    });
  }

  /** The garbage collector: pods of a Job that is gone. */
  #collect(job: string): void {
    for (const pod of this.#podsOf(job)) this.#api.remove("pods", pod.metadata.name);
  }

  #podsOf(job: string): readonly Stored[] {
    return this.#api.list("pods").filter(({ metadata }) => metadata.labels?.["batch.kubernetes.io/job-name"] === job);
  }

  #reconcile(): void {
    for (const job of this.#api.list("jobs")) {
      const isOver = (job.status?.conditions ?? []).some(({ type }: { type: string }) => type === "Complete" || type === "Failed");
      if (!isOver) this.#reconcileJob(job);
    }
  }

  #reconcileJob(job: Stored): undefined {
    const { name, uid } = job.metadata;
    const pods = this.#podsOf(name);
    if (job.spec.suspend === true) {
      for (const pod of pods.filter(isActive)) this.#api.remove("pods", pod.metadata.name);
      return;
    }
    for (const pod of pods.filter(({ status, metadata }) => status.phase === "Failed" && !this.#handled.has(metadata.uid))) {
      this.#handled.add(pod.metadata.uid);
      const action = actionOf(job, pod);
      const index = pod.metadata.annotations?.[INDEX] ?? "0";
      if (action === "FailJob")
        return this.#finish(job, "Failed", "PodFailurePolicy", `${pod.metadata.name} matched a rule with action FailJob`);
      if (action === "Ignore") continue;
      const counts = this.#counted.get(uid) ?? new Map<string, number>();
      this.#counted.set(uid, counts.set(index, (counts.get(index) ?? 0) + 1));
      const limit = job.spec.backoffLimitPerIndex ?? job.spec.backoffLimit;
      if ((counts.get(index) ?? 0) > limit) {
        const isIndexed = job.spec.backoffLimitPerIndex !== undefined;
        return this.#finish(
          job,
          "Failed",
          isIndexed ? "FailedIndexes" : "BackoffLimitExceeded",
          isIndexed ? "Job has failed indexes" : "Job has reached the specified backoff limit",
        );
      }
    }
    const completions = job.spec.completions ?? 1;
    const indexes = Array.from({ length: completions }, (_, i) => String(i));
    const succeeded = (index: string): boolean =>
      pods.some(({ status, metadata }) => status.phase === "Succeeded" && metadata.annotations?.[INDEX] === index);
    if (indexes.every(succeeded)) return this.#finish(job, "Complete", "CompletionsReached", "Reached expected number of succeeded pods");
    for (const index of indexes) {
      if (succeeded(index) || this.active(name, index)) continue;
      const { template } = job.spec;
      this.#api.create("pods", {
        apiVersion: "v1",
        kind: "Pod",
        metadata: {
          name: `${name}-${index}-${String(this.#numPods++).padStart(5, "x")}`,
          labels: { ...template.metadata?.labels, "batch.kubernetes.io/job-name": name },
          annotations: { [INDEX]: index },
        },
        spec: template.spec,
        status: { phase: "Pending", conditions: [], containerStatuses: [] },
      } as unknown as Stored);
    }
  }

  #finish(job: Stored, type: "Complete" | "Failed", reason: string, message: string): undefined {
    this.#api.update("jobs", job.metadata.name, (object) => {
      object.status = { conditions: [{ type, status: "True", reason, message }] };
    });
    if (type === "Failed") for (const pod of this.#podsOf(job.metadata.name).filter(isActive)) this.#api.remove("pods", pod.metadata.name);
  }
}

function actionOf(job: Stored, pod: Stored): string {
  const codes: number[] = (pod.status.containerStatuses as V1ContainerStatus[]).map(({ state }) => state?.terminated?.exitCode ?? 0);
  const conditions: string[] = (pod.status.conditions ?? []).map(({ type }: { type: string }) => type);
  const rules: V1PodFailurePolicyRule[] = job.spec.podFailurePolicy?.rules ?? [];
  const match = rules.find(
    ({ onExitCodes, onPodConditions }) =>
      codes.some((code) => code !== 0 && onExitCodes?.values.includes(code)) ||
      onPodConditions?.some(({ type }) => conditions.includes(type)),
  );
  return match?.action ?? "Count";
}

function isActive({ status }: Stored): boolean {
  return status.phase === "Pending" || status.phase === "Running";
}

function statuses(pod: Stored, state: object): object[] {
  return (pod.spec.containers as { name: string; image: string }[]).map(({ name, image }) => ({
    name,
    image,
    ready: true,
    restartCount: 0,
    state,
  }));
}

function stamp(): string {
  return new Date().toISOString().replace(/\.\d+Z/, "Z");
}
