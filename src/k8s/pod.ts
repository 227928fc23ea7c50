/**
 * The pod that all of isoerg's pods are made from: the restricted profile of the Pod Security Standards and a read-only root file
 * system. Whatever a process writes has a volume; whatever it uses it has asked for (requests = limits: the Guaranteed class, which
 * is evicted last, and what Kueue counts).
 */
import type { V1Container, V1EnvVar, V1PodSpec, V1Probe, V1ResourceRequirements, V1Volume, V1VolumeMount } from "@kubernetes/client-node";
import type { Resources } from "./options.js";

/** The user of cluster/images. */
const UID = 10_001;
const TMP_MIB = 1024;
/** Where a memory-backed /dev/shm is mounted: the default of 64 MiB ends large engines with a bus error. */
const SHM = "/dev/shm";

export interface ContainerOptions {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly env?: readonly V1EnvVar[];
  readonly resources: Resources;
  /** Added to the memory: what is written to a memory-backed volume counts as the container's. */
  readonly shmMiB: number;
  readonly gpus?: number;
  /** Of disk, beside /tmp: what is written to the pod's volumes counts as its containers'. */
  readonly diskMiB?: number;
  readonly ports?: V1Container["ports"];
  readonly mounts?: readonly V1VolumeMount[];
  readonly probes?: Pick<V1Container, "startupProbe" | "livenessProbe" | "readinessProbe">;
  readonly preStopSeconds?: number;
}

export function hardenedContainer(options: ContainerOptions): V1Container {
  return {
    name: options.name,
    image: options.image,
    args: [...options.args],
    ...(options.env && options.env.length > 0 && { env: [...options.env] }),
    ...(options.ports && { ports: options.ports }),
    resources: resourcesOf(options),
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      capabilities: { drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    },
    ...options.probes,
    ...(options.preStopSeconds !== undefined && { lifecycle: { preStop: { sleep: { seconds: options.preStopSeconds } } } }),
    terminationMessagePolicy: "FallbackToLogsOnError",
    volumeMounts: [...(options.mounts ?? []), { name: "tmp", mountPath: "/tmp" }, { name: "shm", mountPath: SHM }],
  };
}

export interface PodOptions {
  readonly serviceAccount: string;
  readonly containers: readonly V1Container[];
  readonly volumes?: readonly V1Volume[];
  readonly graceSeconds: number;
  readonly shmMiB: number;
  readonly subdomain?: string;
}

export function hardenedPod({ serviceAccount, containers, volumes = [], graceSeconds, shmMiB, subdomain }: PodOptions): V1PodSpec {
  return {
    restartPolicy: "Never", // or podFailurePolicy would not be asked
    serviceAccountName: serviceAccount,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    ...(subdomain !== undefined && { subdomain }),
    terminationGracePeriodSeconds: graceSeconds,
    // Processes of one pod share their memory for sums (src/collective); that needs one process namespace.
    ...(containers.length > 1 && { shareProcessNamespace: true }),
    securityContext: {
      runAsNonRoot: true,
      runAsUser: UID,
      runAsGroup: UID,
      fsGroup: UID,
      fsGroupChangePolicy: "OnRootMismatch",
      seccompProfile: { type: "RuntimeDefault" },
    },
    containers: [...containers],
    volumes: [
      ...volumes,
      { name: "tmp", emptyDir: { sizeLimit: `${TMP_MIB}Mi` } },
      { name: "shm", emptyDir: { medium: "Memory", sizeLimit: `${shmMiB}Mi` } },
    ],
  };
}

function resourcesOf({ resources, shmMiB, gpus = 0, diskMiB = 0 }: ContainerOptions): V1ResourceRequirements {
  const amounts: Record<string, string> = {
    cpu: String(resources.cpu),
    memory: `${resources.memoryMiB + shmMiB}Mi`,
    "ephemeral-storage": `${2 * TMP_MIB + diskMiB}Mi`,
    ...(gpus > 0 && { "nvidia.com/gpu": String(gpus) }),
  };
  return { requests: { ...amounts }, limits: { ...amounts } };
}

/** Probes of grpc.health.v1. `service` is asked by the probe of readiness; none leaves that out. */
export function grpcProbes(
  port: number,
  { startSeconds, service }: { readonly startSeconds: number; readonly service?: string },
): NonNullable<ContainerOptions["probes"]> {
  const probe = (over: Partial<V1Probe>, asked?: string): V1Probe => ({
    grpc: asked === undefined ? { port } : { port, service: asked },
    periodSeconds: 10,
    timeoutSeconds: 5,
    failureThreshold: 6,
    ...over,
  });
  return {
    startupProbe: probe({ periodSeconds: 5, failureThreshold: Math.ceil(startSeconds / 5) }),
    livenessProbe: probe({}),
    ...(service !== undefined && { readinessProbe: probe({ periodSeconds: 5, failureThreshold: 2 }, service) }),
  };
}
