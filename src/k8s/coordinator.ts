/**
 * The coordinator's objects: a Job (it ends when the run ends, and another pod goes on where one was lost, from the journal on the
 * run's volume), a headless Service for its name, and the two claims.
 */
import { posix } from "node:path";
import type { V1Job, V1JobSpec, V1PersistentVolumeClaim, V1Service, V1Volume, V1VolumeMount } from "@kubernetes/client-node";
import { IsoergError } from "../util/error.js";
import { failurePolicy } from "./failure-policy.js";
import { headlessService, memberContainer, memberTemplate } from "./member.js";
import { COORDINATOR_PORT, coordinatorName, EXPERIMENT_FILE, HEALTH_PORT, labelsOf, METRICS_PORT, WORKSPACE } from "./names.js";
import { type K8sOptions, numProcesses } from "./options.js";
import { grpcProbes } from "./pod.js";

/** As src/coordinator/rpc/health.ts names it. */
const COORDINATION_SERVICE = "isoerg.v1.Coordination";
/** A coordinator that takes over from one that died without a word waits for a minute; a large data set is opened meanwhile. */
const START_SECONDS = 300;

export function coordinatorJob(options: K8sOptions, dataPath: string): V1Job {
  const name = coordinatorName(options.name);
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, labels: labelsOf(options.name, "coordinator") },
    spec: coordinatorSpec(options, dataPath),
  };
}

/** @param dataPath `data.path` of the experiment */
export function coordinatorSpec(options: K8sOptions, dataPath: string): V1JobSpec {
  const container = memberContainer(options, {
    name: "coordinator",
    args: coordinatorArgs(options),
    resources: options.coordinator,
    ports: [
      { name: "grpc", containerPort: COORDINATOR_PORT },
      { name: "health", containerPort: HEALTH_PORT },
      { name: "metrics", containerPort: METRICS_PORT },
    ],
    probes: grpcProbes(HEALTH_PORT, { startSeconds: START_SECONDS, service: COORDINATION_SERVICE }),
    mounts: [
      { name: "experiment", mountPath: "/etc/isoerg", readOnly: true },
      { name: "runs", mountPath: `${WORKSPACE}/runs` },
      dataMount(dataPath),
    ],
  });
  const volumes: V1Volume[] = [
    { name: "experiment", configMap: { name: `${options.name}-experiment` } },
    { name: "runs", persistentVolumeClaim: { claimName: `${options.name}-runs` } },
    { name: "data", persistentVolumeClaim: { claimName: options.dataClaim, readOnly: true } },
  ];
  return {
    backoffLimit: 6,
    podFailurePolicy: failurePolicy(),
    podReplacementPolicy: "Failed", // two coordinators at a time would only wait for each other
    template: memberTemplate(options, "coordinator", { containers: [container], volumes }),
  };
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

/**
 * The data claim holds a folder for each data set; it is mounted so that the experiment's is where it says.
 * @throws IsoergError CONFIG for data in a bucket, which a run's network policies let nobody reach
 */
export function dataMount(dataPath: string): V1VolumeMount {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(dataPath)) {
    throw new IsoergError("CONFIG", `data.path is ${dataPath}: on Kubernetes data come from a claim, not from a bucket`, {
      hint: "copy the data set to the claim (--data-claim), and give data.path=data/NAME",
    });
  }
  const path = posix.resolve(WORKSPACE, dataPath);
  const above = posix.dirname(path);
  const common = { name: "data", readOnly: true };
  // Mounted whole where that hides nothing: the coordinator then says itself what is missing.
  if (above !== WORKSPACE && above !== "/") return { ...common, mountPath: above };
  return { ...common, mountPath: path, subPath: posix.basename(path) };
}

/** Its name resolves to the pod of the moment. */
export function coordinatorService({ name }: K8sOptions): V1Service {
  return headlessService(name, "coordinator", { name: coordinatorName(name), portName: "grpc", port: COORDINATOR_PORT });
}

/** @param access to the runs' claim: by the coordinator's node alone, or by those of all a sweep's trials */
export function claims(
  options: K8sOptions,
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
    claim(options.dataClaim, { "app.kubernetes.io/name": "isoerg" }, options.dataStorage, "ReadWriteOnce"),
  ];
}
