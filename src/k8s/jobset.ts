/**
 * A run as one JobSet (jobset.x-k8s.io/v1alpha2, from v0.12 on): queued, suspended and deleted as a whole. Where a Job gives up, the
 * set is made anew and goes on from the last checkpoint; or that Job alone, since the run can go on meanwhile, where the controller's
 * feature gate RestartJob lets it (alpha: without the gate such a set is refused). Wrong input fails the set.
 */
import type { KubernetesObject, V1JobSpec } from "@kubernetes/client-node";
import type { Config } from "../config/schema.js";
import { coordinatorSpec } from "./coordinator.js";
import { COORDINATOR_PORT, labelsOf } from "./names.js";
import { asManifests, foundation, type Manifest } from "./objects.js";
import type { K8sOptions } from "./options.js";
import { workersSpec } from "./workers.js";

interface ReplicatedJob {
  readonly name: string;
  readonly replicas: number;
  readonly dependsOn?: readonly { readonly name: string; readonly status: "Ready" | "Complete" }[];
  readonly template: { readonly metadata?: { readonly labels: Record<string, string> }; readonly spec: V1JobSpec };
}

export interface JobSetSpec {
  readonly suspend?: boolean;
  readonly network: object;
  readonly successPolicy: object;
  readonly failurePolicy: object;
  readonly coordinator?: object;
  readonly replicatedJobs: readonly ReplicatedJob[];
}

/** JobSet's names of pods: SET-JOB-INDEX-INDEX.SET. Which set this is, a pod of it knows by its label. */
const COORDINATOR = `$(JOBSET_NAME)-coordinator-0-0.$(JOBSET_NAME):${COORDINATOR_PORT}`;
/** The set, or one of its Jobs, is made anew so often. */
const MAX_RESTARTS = 10;

export interface Naming {
  /** Of the workers' replicated job and its (first) container. */
  readonly workers: string;
  readonly container: string;
  readonly workersLabels?: Record<string, string>;
}

/** @throws IsoergError for places that the options don't lead to */
export function jobSetSpec(options: K8sOptions, config: Config, { workers, container, workersLabels }: Naming): JobSetSpec {
  return {
    network: { enableDNSHostnames: true, publishNotReadyAddresses: true },
    // The run's end is the coordinator's: workers that wait to go on are not waited for.
    successPolicy: { operator: "All", targetReplicatedJobs: ["coordinator"] },
    failurePolicy: {
      maxRestarts: MAX_RESTARTS,
      rules: [
        { name: "wrongInput", action: "FailJobSet", onJobFailureReasons: ["PodFailurePolicy"] },
        options.restartJob
          ? { name: "otherwise", action: "RestartJob", targetReplicatedJobs: ["coordinator", workers] }
          : { name: "otherwise", action: "RestartJobSet" },
      ],
    },
    replicatedJobs: [
      { name: "coordinator", replicas: 1, template: { spec: { completions: 1, parallelism: 1, ...coordinatorSpec(options, config) } } },
      {
        name: workers,
        replicas: 1,
        dependsOn: [{ name: "coordinator", status: "Ready" }], // no GPU waits for a volume
        template: {
          ...(workersLabels && { metadata: { labels: workersLabels } }),
          spec: workersSpec(options, config, {
            coordinator: COORDINATOR,
            env: [
              {
                name: "JOBSET_NAME",
                valueFrom: { fieldRef: { fieldPath: "metadata.labels['jobset.sigs.k8s.io/jobset-name']" } },
              },
            ],
            subdomain: null,
            containerName: container,
          }),
        },
      },
    ],
  };
}

export function jobSet(options: K8sOptions, config: Config): KubernetesObject & { readonly spec: JobSetSpec } {
  const { name, queue } = options;
  return {
    apiVersion: "jobset.x-k8s.io/v1alpha2",
    kind: "JobSet",
    metadata: { name, labels: { ...labelsOf(name), ...(queue !== null && { "kueue.x-k8s.io/queue-name": queue }) } },
    spec: {
      ...(queue !== null && { suspend: true }),
      coordinator: { replicatedJob: "coordinator", jobIndex: 0, podIndex: 0 },
      ...jobSetSpec(options, config, { workers: "workers", container: "worker" }),
    },
  };
}

/** The same as `renderObjects`, with one JobSet for the two Jobs and their Services. */
export function renderJobSet(config: Config, options: K8sOptions): readonly Manifest[] {
  return asManifests(options, [...foundation(config, options), jobSet(options, config)]);
}
