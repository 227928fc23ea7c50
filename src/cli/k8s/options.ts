/** The options of a run on Kubernetes, the same on `isoerg k8s render` and `isoerg launch`. */
import { type Command, InvalidArgumentError } from "commander";
import type { Config } from "../../config/schema.js";
import { graceSecondsOf, type K8sOptions, k8sOptions, nameOf } from "../../k8s/options.js";
import { parseCount, parseNatural } from "../numbers.js";
import { measure } from "./measure.js";
import { addPlaceOptions, type PlaceFlags, placesOf } from "./places.js";

export interface K8sFlags extends PlaceFlags {
  readonly name?: string;
  readonly image?: string;
  readonly namespace?: string;
  readonly workers: number;
  readonly minWorkers: number;
  readonly gpus: number;
  readonly storageClass?: string;
  readonly runStorage?: string;
  readonly dataClaim?: string;
  readonly queue?: string;
  readonly gracePeriod?: number;
  readonly measured?: string;
  readonly joinTimeout?: number;
  readonly cpu?: number;
  readonly memory?: number;
  readonly insecure?: true;
}

export function addK8sOptions(command: Command): Command {
  return addPlaceOptions(
    command
      .option("--name <name>", "name of the run and its objects (default: the experiment's)")
      .option("--image <image>", "image of coordinator and workers (default: isoerg:cpu, or isoerg:cuda with --gpus)")
      .option("--namespace <name>", "namespace of the objects (default: that of whoever applies them)")
      .option("--workers <n>", "worker pods", parseCount, 2)
      .option("--min-workers <n>", "go on while so many worker processes are left", parseCount, 1)
      .option("--gpus <n>", "GPUs of a worker pod, each with a process of its own", parseGpus, 0)
      .option("--cpu <n>", "cores of a worker process (default: 2, or 4 with --gpus)", parseCount)
      .option("--memory <mib>", "MiB of memory of a worker process (default: 4096, or 16384 with --gpus)", parseCount)
      .option("--storage-class <name>", "StorageClass of the volumes (default: the cluster's)")
      .option("--run-storage <quantity>", "size of the run's volume (default: 20Gi)")
      .option("--data-claim <name>", "claim that holds the prepared data sets, a folder each (default: isoerg-data)")
      .option("--queue <name>", "Kueue's LocalQueue for the workers")
      .option("--grace-period <s>", "seconds between SIGTERM and SIGKILL (default: 120)", parseNatural)
      .option("--measured <run>", "folder of a run of this size: the grace period is taken from its steps and saves")
      .option("--join-timeout <s>", "seconds that the start waits for all workers (default: 1800)", parseNatural)
      .option("--insecure", "plaintext between the pods (default: mutual TLS, with certificates and join token from Secrets)"),
    "coordinator and workers",
  );
}

/** @throws IsoergError USAGE */
export function k8sOptionsOf(config: Config, flags: K8sFlags): K8sOptions {
  const name = flags.name ?? nameOf(config.name);
  const base = k8sOptions({ name, gpus: flags.gpus });
  const grace = flags.gracePeriod ?? (flags.measured === undefined ? undefined : graceSecondsOf(measure(flags.measured)));
  return k8sOptions({
    name,
    gpus: flags.gpus,
    workers: flags.workers,
    minWorkers: flags.minWorkers,
    worker: { cpu: flags.cpu ?? base.worker.cpu, memoryMiB: flags.memory ?? base.worker.memoryMiB },
    ...(flags.image !== undefined && { image: flags.image }),
    ...(flags.namespace !== undefined && { namespace: flags.namespace }),
    ...(flags.storageClass !== undefined && { storageClass: flags.storageClass }),
    ...(flags.runStorage !== undefined && { runStorage: flags.runStorage }),
    ...(flags.dataClaim !== undefined && { dataClaim: flags.dataClaim }),
    ...(flags.queue !== undefined && { queue: flags.queue }),
    ...(grace !== undefined && { graceSeconds: grace }),
    ...(flags.joinTimeout !== undefined && { joinTimeoutSeconds: flags.joinTimeout }),
    ...placesOf(flags),
    tls: !flags.insecure,
  });
}

/** For commander: from 0 on. */
export function parseGpus(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 16) throw new InvalidArgumentError("It takes a whole number from 0 to 16.");
  return value;
}
