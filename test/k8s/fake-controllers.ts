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

  /** Deletes a pod as others do: it is told, ends by itself, and is gone then with its log. */
  terminate(pod: string, exitCode = 143): void {
    this.#api.update("pods", pod, ({ metadata }) => {
      metadata.deletionTimestamp = stamp();
    });
    if (this.#api.list("pods").some((object) => object.metadata.name === pod && object.status.phase === "Running")) this.end(pod, exitCode);
    this.#api.remove("pods", pod);
  }

  /** The garbage collector: pods of a Job that is gone. */
  #collect(job: string): void {
    for (const pod of this.#podsOf(job)) isActive(pod) ? this.terminate(pod.metadata.name) : this.#api.remove("pods", pod.metadata.name);
  }

  #podsOf(job: string): readonly Stored[] {
    return this.#api.list("pods").filter(({ metadata }) => metadata.labels?.["batch.kubernetes.io/job-name"] === job);
  }

  #reconcile(): void {
    for (const job of this.#api.list("jobs")) if (!isOver(job)) this.#reconcileJob(job);
  }

  #reconcileJob(job: Stored): undefined {
    const { name, uid } = job.metadata;
    const pods = this.#podsOf(name);
    this.#noteSuspension(job);
    if (job.spec.suspend === true) {
      for (const pod of pods.filter(isActive)) this.terminate(pod.metadata.name);
      return;
    }
    const isIndexed = job.spec.backoffLimitPerIndex !== undefined;
    const limit = job.spec.backoffLimitPerIndex ?? job.spec.backoffLimit;
    const counts = this.#counted.get(uid) ?? new Map<string, number>();
    this.#counted.set(uid, counts);
    for (const pod of pods.filter(({ status, metadata }) => status.phase === "Failed" && !this.#handled.has(metadata.uid))) {
      this.#handled.add(pod.metadata.uid);
      const index = pod.metadata.annotations?.[INDEX] ?? "0";
      const match = matchOf(job, pod);
      if (match?.action === "FailJob") return this.#finish(job, "Failed", "PodFailurePolicy", match.message);
      if (match?.action === "Ignore") continue;
      counts.set(index, (counts.get(index) ?? 0) + 1);
      if (!isIndexed && (counts.get(index) ?? 0) > limit)
        return this.#finish(job, "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    const completions = job.spec.completions ?? 1;
    const indexes = Array.from({ length: completions }, (_, i) => String(i));
    const succeeded = (index: string): boolean =>
      pods.some(({ status, metadata }) => status.phase === "Succeeded" && metadata.annotations?.[INDEX] === index);
    const failed = isIndexed ? indexes.filter((index) => (counts.get(index) ?? 0) > limit) : [];
    const counted = { failedIndexes: failed.join(","), succeeded: indexes.filter(succeeded).length };
    if (counted.failedIndexes !== (job.status?.failedIndexes ?? "") || counted.succeeded !== (job.status?.succeeded ?? 0)) {
      return void this.#api.update("jobs", name, (object) => {
        object.status = { ...object.status, ...counted };
      });
    }
    if (failed.length > (job.spec.maxFailedIndexes ?? Number.POSITIVE_INFINITY))
      return this.#finish(job, "Failed", "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
    if (indexes.every((index) => succeeded(index) || failed.includes(index)))
      return failed.length > 0
        ? this.#finish(job, "Failed", "FailedIndexes", "Job has failed indexes")
        : this.#finish(job, "Complete", "CompletionsReached", "Reached expected number of succeeded pods");
    for (const index of indexes) {
      if (succeeded(index) || failed.includes(index) || this.active(name, index)) continue;
      const { template } = job.spec;
      this.#api.create("pods", {
        apiVersion: "v1",
        kind: "Pod",
        metadata: {
          name: `${name}-${index}-${String(this.#numPods++).padStart(5, "x")}`,
          labels: { ...template.metadata?.labels, "batch.kubernetes.io/job-name": name },
          annotations: { ...template.metadata?.annotations, [INDEX]: index },
        },
        spec: template.spec,
        status: { phase: "Pending", conditions: [], containerStatuses: [] },
      } as unknown as Stored);
    }
  }

  #noteSuspension(job: Stored): void {
    const wasSuspended = conditionOf(job, "Suspended")?.status;
    const isSuspended = job.spec.suspend === true ? "True" : "False";
    if (wasSuspended === isSuspended || (wasSuspended === undefined && isSuspended === "False")) return;
    const said =
      isSuspended === "True" ? { reason: "JobSuspended", message: "Job suspended" } : { reason: "JobResumed", message: "Job resumed" };
    this.#addConditions(job, { type: "Suspended", status: isSuspended, ...said });
  }

  /** As the controller does since Kubernetes 1.31: first the decision, then, when no pod runs any more, the end. */
  #finish(job: Stored, type: "Complete" | "Failed", reason: string, message: string): undefined {
    const decided = type === "Complete" ? "SuccessCriteriaMet" : "FailureTarget";
    this.#addConditions(job, { type: decided, status: "True", reason, message });
    for (const pod of this.#podsOf(job.metadata.name).filter(isActive)) this.terminate(pod.metadata.name);
    this.#addConditions(job, { type, status: "True", reason, message });
  }

  #addConditions({ metadata }: Stored, added: Condition): void {
    this.#api.update("jobs", metadata.name, (object) => {
      const others = (object.status?.conditions ?? []).filter(({ type }: Condition) => type !== added.type);
      object.status = { ...object.status, conditions: [...others, { lastTransitionTime: stamp(), ...added }] };
    });
  }
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

function conditionOf(job: Stored, wanted: string): Condition | undefined {
  return (job.status?.conditions ?? []).find(({ type }: Condition) => type === wanted);
}

/** Whether a Job has ended, in whatever way. */
export function isOver(job: Stored): boolean {
  return conditionOf(job, "Complete") !== undefined || conditionOf(job, "Failed") !== undefined;
}

/** The rule that a failed pod meets, the first of them, in the controller's words. */
function matchOf(job: Stored, pod: Stored): { readonly action: string; readonly message: string } | null {
  const ended = (pod.status.containerStatuses as V1ContainerStatus[]).map(({ name, state }) => ({
    name,
    code: state?.terminated?.exitCode ?? 0,
  }));
  const conditions: string[] = (pod.status.conditions ?? []).map(({ type }: { type: string }) => type);
  const rules: V1PodFailurePolicyRule[] = job.spec.podFailurePolicy?.rules ?? [];
  const { name, namespace } = pod.metadata;
  for (const [index, { action, onExitCodes, onPodConditions }] of rules.entries()) {
    const container = ended.find(({ code }) => code !== 0 && onExitCodes?.values.includes(code));
    if (container) {
      const message = `Container ${container.name} for pod ${namespace}/${name} failed with exit code ${container.code} matching ${action} rule at index ${index}`;
      return { action, message };
    }
    const condition = onPodConditions?.find(({ type }) => conditions.includes(type));
    if (condition)
      return { action, message: `Pod ${namespace}/${name} has condition ${condition.type} matching ${action} rule at index ${index}` };
  }
  return null;
}

/** A pod that is being deleted counts until it has ended (podReplacementPolicy Failed). */
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
