/**
 * The workers' objects: an Indexed Job, whose pods have names that survive them, a headless Service for those names, and a
 * PodDisruptionBudget. A pod with several GPUs has a process for each, in containers of their own that share memory.
 */
import type { V1Container, V1Job, V1JobSpec, V1PodDisruptionBudget, V1Service } from "@kubernetes/client-node";
import { failurePolicy } from "./failure-policy.js";
import { headlessService, memberContainer, memberTemplate } from "./member.js";
import {
  COORDINATOR_PORT,
  coordinatorName,
  DATA_PORTS_START,
  dataPortsOf,
  labelsOf,
  selectorOf,
  WORKER_HEALTH_START,
  workersName,
} from "./names.js";
import { type K8sOptions, numProcesses, PRE_STOP_SECONDS } from "./options.js";
import { needsOf, type PlacedConfig, type PodNeeds } from "./places/needs.js";
import { grpcProbes } from "./pod.js";

/** An engine on a cold node: libraries of gigabytes, and the start of CUDA. */
const START_SECONDS = 300;
/** Failures of one index, an index being a place and not a pod: those that a policy ignores don't count. */
const BACKOFF_LIMIT_PER_INDEX = 5;

export interface WorkerPlace {
  /** host:port that workers reach the coordinator by; may hold $(VARIABLES) of the container. */
  readonly coordinator: string;
  /** Other variables of the containers. */
  readonly env?: V1Container["env"];
  /** The pods' Service; null where a controller makes its own. */
  readonly subdomain: string | null;
  /** Of the containers; processes after the first have their number behind it. */
  readonly containerName: string;
}

export function workersJob(options: K8sOptions, config: PlacedConfig): V1Job {
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name: workersName(options.name),
      labels: {
        ...labelsOf(options.name, "worker"),
        ...(options.queue !== null && { "kueue.x-k8s.io/queue-name": options.queue }),
      },
      ...(options.queue !== null && { annotations: { "kueue.x-k8s.io/elastic-job": "true" } }),
    },
    spec: {
      ...(options.queue !== null && { suspend: true }), // until Kueue admits it
      ...workersSpec(options, config, {
        coordinator: `${coordinatorName(options.name)}:${COORDINATOR_PORT}`,
        subdomain: workersName(options.name),
        containerName: "worker",
      }),
    },
  };
}

/** @throws IsoergError for places that the options don't lead to */
export function workersSpec(options: K8sOptions, config: PlacedConfig, place: WorkerPlace): V1JobSpec {
  const needs = needsOf("worker", config, options);
  const processes = Math.max(1, options.gpus);
  const { subdomain } = place;
  return {
    completionMode: "Indexed",
    completions: options.workers,
    parallelism: options.workers,
    backoffLimitPerIndex: BACKOFF_LIMIT_PER_INDEX,
    ...failedPlaces(options),
    podFailurePolicy: failurePolicy(),
    podReplacementPolicy: "Failed",
    template: memberTemplate(options, "worker", {
      containers: Array.from({ length: processes }, (_, process) => workerContainer(options, place, needs, process)),
      volumes: needs.volumes,
      account: needs.account,
      ...(subdomain !== null && { subdomain }),
    }),
  };
}

/**
 * The run goes on without a place that is given up, while enough are left; below that it would wait for ever, and so the Job fails.
 * Unsaid, a Job fails with its last place.
 */
function failedPlaces(options: K8sOptions): Pick<V1JobSpec, "maxFailedIndexes"> {
  const spare = Math.floor((numProcesses(options) - options.minWorkers) / Math.max(1, options.gpus));
  return spare < options.workers - 1 ? { maxFailedIndexes: spare } : {};
}

function workerContainer(
  options: K8sOptions,
  { coordinator, env = [], containerName }: WorkerPlace,
  needs: PodNeeds,
  process: number,
): V1Container {
  const hasGpu = options.gpus > 0;
  const isAlone = options.gpus <= 1;
  const healthPort = WORKER_HEALTH_START + process;
  return memberContainer(options, {
    name: process === 0 ? containerName : `${containerName}-${process}`,
    args: [
      "worker",
      `--coordinator=${coordinator}`,
      `--id=worker-$(WORKER_INDEX)${isAlone ? "" : `-${process}`}`,
      "--ring-host=$(POD_IP)",
      `--data-ports=${dataPortsOf(process)}`,
      `--health=0.0.0.0:${healthPort}`,
      // A coordinator may wait for its volume, or move to another node.
      "--connect-timeout=900",
      "--reconnect-timeout=900",
      ...(hasGpu ? ["--engine=torch", "--device=cuda"] : []),
      `--threads=${options.worker.cpu}`,
    ],
    env: [
      { name: "POD_IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
      {
        name: "WORKER_INDEX",
        valueFrom: { fieldRef: { fieldPath: "metadata.annotations['batch.kubernetes.io/job-completion-index']" } },
      },
      ...(isAlone ? [] : [{ name: "TINI_SUBREAPER", value: "1" }]), // process 1 is the pod's, in a shared namespace
      ...env,
      ...needs.env,
    ],
    mounts: needs.mounts,
    diskMiB: process === 0 ? needs.cacheMiB : 0, // one volume for all of them; limits of a pod are the sum of its containers'
    resources: options.worker,
    ...(hasGpu && { gpus: 1 }),
    ports: [{ name: process === 0 ? "data" : `data-${process}`, containerPort: Number.parseInt(dataPortsOf(process), 10) }],
    probes: grpcProbes(healthPort, { startSeconds: START_SECONDS }),
    preStopSeconds: PRE_STOP_SECONDS,
  });
}

export function workersService({ name }: K8sOptions): V1Service {
  return headlessService(name, "worker", { name: workersName(name), portName: "data", port: DATA_PORTS_START });
}

/**
 * Drains take one worker at a time; the others go on meanwhile. A budget of pods that no scalable controller owns takes an absolute
 * `minAvailable` only. The coordinator has none: moving it costs seconds, and a budget of one pod would hold up every drain.
 */
export function workersBudget(options: K8sOptions): V1PodDisruptionBudget {
  return {
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: { name: workersName(options.name), labels: labelsOf(options.name, "worker") },
    spec: { minAvailable: options.workers - 1, selector: selectorOf(options.name, "worker"), unhealthyPodEvictionPolicy: "AlwaysAllow" },
  };
}
