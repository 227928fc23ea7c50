/**
 * What a run on Kubernetes is rendered from, beside its experiment: image, size, storage, queue. Defaults here, checked once;
 * everything below may rely on names that are DNS labels and on quantities that Kubernetes reads.
 */
import { IsoergError } from "../util/error.js";

export interface Resources {
  /** Whole cores, so that a static CPU manager can pin them. */
  readonly cpu: number;
  /** MiB of the process itself; what /dev/shm may take is added. */
  readonly memoryMiB: number;
}

/** Addresses, and their port where it is not the endpoint's. */
export interface Network {
  readonly cidr: string;
  readonly port: number | null;
}

/** As whom, and by which way, pods reach a bucket. */
export interface BucketOptions {
  /** Secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, and where there is one AWS_SESSION_TOKEN. */
  readonly secret: string | null;
  /** The workers', who only read the data set; null for the same one. */
  readonly workerSecret: string | null;
  /** ServiceAccount to which the cluster's cloud gives an identity, instead of a Secret. */
  readonly account: string | null;
  /** Of the store; none where they follow from the endpoint. */
  readonly networks: readonly Network[];
  /** That the store's pods listen on, behind a Service of another port; null for the endpoint's. */
  readonly port: number | null;
  /** ConfigMap with the key `ca.crt`: who vouches for the store's certificate. */
  readonly ca: string | null;
}

/** A PersistentVolumeClaim that is there already, and the folder where pods mount it; null for the one above the places. */
export interface SharedClaim {
  readonly name: string;
  readonly folder: string | null;
}

export const NO_BUCKET: BucketOptions = { secret: null, workerSecret: null, account: null, networks: [], port: null, ca: null };

export interface K8sOptions {
  /** Of the run and of all its objects; a DNS label of at most 40 characters. */
  readonly name: string;
  readonly image: string;
  readonly namespace: string | null;
  /** Worker pods. */
  readonly workers: number;
  /** The run goes on while so many worker processes are left. */
  readonly minWorkers: number;
  /** GPUs of a worker pod, each with a process of its own; 0 for CPU nodes. */
  readonly gpus: number;
  /** Null for the cluster's default. */
  readonly storageClass: string | null;
  readonly runStorage: string;
  readonly dataStorage: string;
  /** The claim with prepared data sets, shared by all runs of a namespace. */
  readonly dataClaim: string;
  /** For data and checkpoints at s3://bucket/prefix. */
  readonly bucket: BucketOptions;
  /** For data and checkpoints at file:///folder. */
  readonly sharedClaim: SharedClaim | null;
  /** Kueue's LocalQueue for the workers. */
  readonly queue: string | null;
  /** Between SIGTERM and SIGKILL. */
  readonly graceSeconds: number;
  /** How long workers are waited for at the start: images to pull, nodes to come, a queue. */
  readonly joinTimeoutSeconds: number;
  readonly worker: Resources;
  readonly coordinator: Resources;
  readonly shmMiB: number;
  /** Of a JobSet make only the Job anew that failed, which the controller must be told to allow: its feature gate RestartJob. */
  readonly restartJob: boolean;
  /** Mutual TLS between all processes, certificates and join token from Secrets; without it, plaintext. */
  readonly tls: boolean;
}

/** As one experiment's name gives it. */
export function nameOf(experiment: string): string {
  const name = experiment
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "")
    .slice(0, MAX_NAME);
  return /^[a-z]/.test(name) ? name.replace(/-+$/, "") : `run-${name}`.slice(0, MAX_NAME).replace(/-+$/, "");
}

/** Pods are called NAME-workers-INDEX, and a pod's host name has 63 characters at most. */
const MAX_NAME = 40;

/** @throws IsoergError USAGE that names what can't be used. */
export function k8sOptions(given: Partial<K8sOptions> & Pick<K8sOptions, "name">): K8sOptions {
  const gpus = given.gpus ?? 0;
  const options: K8sOptions = {
    image: gpus > 0 ? "isoerg:cuda" : "isoerg:cpu",
    namespace: null,
    workers: 2,
    minWorkers: 1,
    gpus,
    storageClass: null,
    runStorage: "20Gi",
    dataStorage: "20Gi",
    dataClaim: "isoerg-data",
    bucket: NO_BUCKET,
    sharedClaim: null,
    queue: null,
    graceSeconds: DEFAULT_GRACE_SECONDS,
    joinTimeoutSeconds: 1800,
    worker: gpus > 0 ? { cpu: 4, memoryMiB: 16_384 } : { cpu: 2, memoryMiB: 4096 },
    coordinator: { cpu: 1, memoryMiB: 2048 },
    shmMiB: 256,
    restartJob: false,
    tls: true,
    ...given,
  };
  for (const [what, label] of [
    ["--namespace", options.namespace],
    ["--queue", options.queue],
    ["--storage-class", options.storageClass],
    ["--data-claim", options.dataClaim],
    ["--shared-claim", options.sharedClaim?.name ?? null],
    ["--bucket-secret", options.bucket.secret],
    ["--bucket-worker-secret", options.bucket.workerSecret],
    ["--bucket-account", options.bucket.account],
    ["--bucket-ca", options.bucket.ca],
  ] as const) {
    if (label !== null && !/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/.test(label))
      throw new IsoergError("USAGE", `${what} '${label}' is no name for Kubernetes: letters a to z, digits and hyphens, 63 at most`);
  }
  if (!/^[a-z]([a-z0-9-]*[a-z0-9])?$/.test(options.name) || options.name.length > MAX_NAME)
    throw new IsoergError("USAGE", `'${options.name}' can't be the name of a run on Kubernetes`, {
      hint: `a letter, then letters a to z, digits and hyphens, ${MAX_NAME} at most`,
    });
  for (const [what, quantity] of [
    ["--run-storage", options.runStorage],
    ["--data-storage", options.dataStorage],
  ] as const) {
    if (!/^\d+(\.\d+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$/.test(quantity))
      throw new IsoergError("USAGE", `${what} ${quantity} is no quantity of Kubernetes, as 20Gi is`);
  }
  const { secret, workerSecret, account } = options.bucket;
  if (account !== null && (secret ?? workerSecret) !== null)
    throw new IsoergError("USAGE", "--bucket-account and --bucket-secret: pods have their rights from one of them");
  if (options.sharedClaim?.folder != null && !/^\/[^:]*$/.test(options.sharedClaim.folder))
    throw new IsoergError("USAGE", `--shared-claim: '${options.sharedClaim.folder}' is no absolute path`);
  if (/\s/.test(options.image) || options.image === "") throw new IsoergError("USAGE", `'${options.image}' is no name of an image`);
  if (options.minWorkers > numProcesses(options))
    throw new IsoergError("USAGE", `--min-workers ${options.minWorkers} is more than the ${numProcesses(options)} there are`);
  return options;
}

/** Worker processes of the run: one a GPU, or one a pod. */
export function numProcesses({ workers, gpus }: Pick<K8sOptions, "workers" | "gpus">): number {
  return workers * Math.max(1, gpus);
}

const DEFAULT_GRACE_SECONDS = 120;
/** Workers hear of a termination so much later than the coordinator, if both are told: it saves with all of them still there. */
export const PRE_STOP_SECONDS = 5;
const MARGIN_SECONDS = 15;

export interface Measured {
  /** The longest save of a checkpoint; null where none was seen. */
  readonly saveMs: number | null;
  /** A long step (the 99th percentile); null where none was seen. */
  readonly stepMs: number | null;
}

/**
 * Seconds that an orderly end takes: the head start, the step under way, a save that is being written and the one after it. Twice
 * that, since storage is slowest when everybody saves, and never below 60.
 */
export function graceSecondsOf({ saveMs, stepMs }: Measured): number {
  if (saveMs === null || stepMs === null) return DEFAULT_GRACE_SECONDS;
  const orderly = PRE_STOP_SECONDS + stepMs / 1000 + (2 * saveMs) / 1000;
  return Math.max(60, Math.ceil(2 * orderly + MARGIN_SECONDS));
}
