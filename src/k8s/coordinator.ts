/**
 * The coordinator's objects: a Job (it ends when the run ends, and another pod goes on where one was lost, from the journal on the
 * run's volume), a headless Service for its name, and the claims.
 */
import { createHash } from "node:crypto";
import type { V1Job, V1JobSpec, V1PersistentVolumeClaim, V1Service, V1Volume } from "@kubernetes/client-node";
import { configToYaml } from "../config/print.js";
import type { Config } from "../config/schema.js";
import { failurePolicy } from "./failure-policy.js";
import { headlessService, memberContainer, memberTemplate } from "./member.js";
import { COORDINATOR_PORT, coordinatorName, EXPERIMENT_FILE, HEALTH_PORT, labelsOf, METRICS_PORT, WORKSPACE } from "./names.js";
import { type K8sOptions, numProcesses } from "./options.js";
import { isOnDataClaim, needsOf, type PlacedConfig } from "./places/needs.js";
import { grpcProbes } from "./pod.js";

/** As src/coordinator/rpc/health.ts names it. */
const COORDINATION_SERVICE = "isoerg.v1.Coordination";
/** A coordinator that takes over from one that died without a word waits for a minute; a large data set is opened meanwhile. */
const START_SECONDS = 300;

export function coordinatorJob(options: K8sOptions, config: Config): V1Job {
  const name = coordinatorName(options.name);
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, labels: labelsOf(options.name, "coordinator") },
    spec: coordinatorSpec(options, config),
  };
}

/** @throws IsoergError for places that the options don't lead to */
export function coordinatorSpec(options: K8sOptions, config: Config): V1JobSpec {
  const needs = needsOf("coordinator", config, options);
  const container = memberContainer(options, {
    name: "coordinator",
    args: coordinatorArgs(options),
    env: needs.env,
    resources: options.coordinator,
    diskMiB: needs.cacheMiB,
    ports: [
      { name: "grpc", containerPort: COORDINATOR_PORT },
      { name: "health", containerPort: HEALTH_PORT },
      { name: "metrics", containerPort: METRICS_PORT },
    ],
    probes: grpcProbes(HEALTH_PORT, { startSeconds: START_SECONDS, service: COORDINATION_SERVICE }),
    mounts: [
      { name: "experiment", mountPath: "/etc/isoerg", readOnly: true },
      { name: "runs", mountPath: `${WORKSPACE}/runs` },
      ...needs.mounts,
    ],
  });
  const volumes: V1Volume[] = [
    { name: "experiment", configMap: { name: `${options.name}-experiment` } },
    { name: "runs", persistentVolumeClaim: { claimName: `${options.name}-runs` } },
    ...needs.volumes,
  ];
  return {
    backoffLimit: 6,
    podFailurePolicy: failurePolicy(),
    podReplacementPolicy: "Failed", // two coordinators at a time would only wait for each other
    template: memberTemplate(options, "coordinator", {
      containers: [container],
      volumes,
      account: needs.account,
      annotations: { [EXPERIMENT_DIGEST]: digestOf(config) },
    }),
  };
}

/** Part of the template, which can't be changed: another experiment is refused while a run of that name is there. */
const EXPERIMENT_DIGEST = "isoerg/experiment";

function digestOf(config: Config): string {
  return createHash("sha256").update(configToYaml(config)).digest("hex").slice(0, 12);
}

export function coordinatorArgs(options: K8sOptions): readonly string[] {
  return [
    "coordinator",
    EXPERIMENT_FILE,
    "--resume",
    `--run=runs/${options.name}`,
    `--listen=0.0.0.0:${COORDINATOR_PORT}`,
    `--health=0.0.0.0:${HEALTH_PORT}`,
    `--metrics=0.0.0.0:${METRICS_PORT}`,
    `--workers=${numProcesses(options)}`,
    `--min-workers=${options.minWorkers}`,
    `--join-timeout=${options.joinTimeoutSeconds}`,
  ];
}

/** Its name resolves to the pod of the moment. */
export function coordinatorService({ name }: K8sOptions): V1Service {
  return headlessService(name, "coordinator", { name: coordinatorName(name), portName: "grpc", port: COORDINATOR_PORT });
}

/**
 * The volume for runs, and the one of data sets where the experiment's is there. A claim that others made is not among them.
 * @param access to the runs' claim: by the coordinator's node alone, or by those of all a sweep's trials
 */
export function claims(
  options: K8sOptions,
  config: PlacedConfig,
  access: "ReadWriteOnce" | "ReadWriteMany" = "ReadWriteOnce",
): readonly V1PersistentVolumeClaim[] {
  const claim = (name: string, labels: Record<string, string>, storage: string, mode: string): V1PersistentVolumeClaim => ({
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name, labels },
    spec: {
      accessModes: [mode],
      ...(options.storageClass !== null && { storageClassName: options.storageClass }),
      resources: { requests: { storage } },
    },
  });
  return [
    claim(`${options.name}-runs`, labelsOf(options.name), options.runStorage, access),
    ...(isOnDataClaim(config)
      ? [claim(options.dataClaim, { "app.kubernetes.io/name": "isoerg" }, options.dataStorage, "ReadWriteOnce")]
      : []),
  ];
}
