/** `isoerg sweep --on kubernetes`: what a study's trials are to use on a cluster, and the runner that asks for them. */
import { type Command, InvalidArgumentError } from "commander";
import { type K8sOptions, k8sOptions } from "../../k8s/options.js";
import type { PlacedConfig } from "../../k8s/places/needs.js";
import { type ClusterRunner, createClusterRunner } from "../../k8s/sweep/runner.js";
import { studyFolder, studyObjects, trialJob } from "../../k8s/sweep/trial-job.js";
import { toYamlStream } from "../../k8s/write.js";
import type { Strategy, SweepSpec } from "../../sweep/spec.js";
import { type RequestOptions, requestOf, type TrialRequest } from "../../sweep/trial/request.js";
import type { EngineFlags } from "../engine-options.js";
import { addPlaceOptions, type PlaceFlags, placesOf } from "../k8s/places.js";
import { addClusterOptions, type ClusterFlags, clusterOf } from "../launch/kubernetes.js";
import { parseCount } from "../numbers.js";

export interface TrialFlags extends ClusterFlags, PlaceFlags {
  readonly image?: string;
  readonly namespace?: string;
  readonly gpus: number;
  readonly memory?: number;
  readonly storageClass?: string;
  readonly runStorage?: string;
  readonly dataClaim?: string;
  readonly queue?: string;
  readonly dryRun?: true;
}

export function addTrialOptions(command: Command): Command {
  return addPlaceOptions(
    addClusterOptions(command)
      .option("--image <image>", "image of the trials (default: isoerg:cpu, or isoerg:cuda with --gpus 1)")
      .option("--namespace <name>", "namespace of the objects (default: the context's)")
      .option("--gpus <n>", "GPUs of a trial, 0 or 1", parseGpu, 0)
      .option("--memory <mib>", "MiB of memory of a trial (default: 4096, or 16384 with --gpus 1)", parseCount)
      .option("--storage-class <name>", "StorageClass of the study's volume, which several nodes mount at once (default: the cluster's)")
      .option("--run-storage <quantity>", "size of the study's volume (default: 20Gi)")
      .option("--data-claim <name>", "claim that holds the prepared data sets, a folder each (default: isoerg-data)")
      .option("--queue <name>", "Kueue's LocalQueue for the trials")
      .option("--dry-run", "print what trials stand on and the first trial's Job, ask no cluster"),
    "trials",
  );
}

/** @throws IsoergError USAGE */
function optionsOf(spec: SweepSpec, flags: TrialFlags): K8sOptions {
  const { name, threads } = spec;
  const { gpus, image, namespace, storageClass, runStorage, dataClaim, queue } = flags;
  const base = k8sOptions({ name, gpus });
  return k8sOptions({
    name,
    gpus,
    workers: 1,
    worker: { cpu: threads, memoryMiB: flags.memory ?? base.worker.memoryMiB },
    ...(image !== undefined && { image }),
    ...(namespace !== undefined && { namespace }),
    ...(storageClass !== undefined && { storageClass }),
    ...(runStorage !== undefined && { runStorage }),
    ...(dataClaim !== undefined && { dataClaim }),
    ...(queue !== undefined && { queue }),
    ...placesOf(flags),
  });
}

function engineOf({ threads }: SweepSpec, { gpus, engine }: TrialFlags & EngineFlags): TrialRequest["engine"] {
  return gpus > 0 ? { engine: "torch", device: "cuda", threads } : { engine, device: "cpu", threads };
}

export interface KubernetesSweep {
  readonly spec: SweepSpec;
  readonly flags: TrialFlags & EngineFlags;
  readonly configOf: RequestOptions["configOf"];
  /** The experiment, without a trial's settings. */
  readonly config: PlacedConfig;
  /** Of the sweep as it was begun. */
  readonly digest: string;
}

/** @throws IsoergError where no cluster is named, or it refuses */
export async function createKubernetesRunner(sweep: KubernetesSweep & { readonly say: (text: string) => void }): Promise<ClusterRunner> {
  const { spec, flags } = sweep;
  const options = optionsOf(spec, flags);
  return createClusterRunner({ ...sweep, cluster: clusterOf(flags, options.namespace), options, engine: engineOf(spec, flags) });
}

/** What would be applied, up to the first trial's Job. */
export function describeObjects({ spec, flags, configOf, config, digest }: KubernetesSweep, { searcher }: Strategy): string {
  const options = optionsOf(spec, flags);
  const point = searcher.propose(0, []);
  if (point === null) return toYamlStream(studyObjects(options, config));
  const job = { index: 0, trial: 0, point, from: 0, to: spec.epochs ?? configOf(point, 1).epochs, copyOf: null, result: null };
  const request = requestOf({ spec, configOf, folder: studyFolder(spec.name, digest), engine: engineOf(spec, flags) }, job, job, 1);
  return toYamlStream([...studyObjects(options, config), trialJob(options, { job: 0, seed: 1, digest }, request)]);
}

function parseGpu(text: string): number {
  if (text !== "0" && text !== "1") throw new InvalidArgumentError("It takes 0 or 1: a trial trains with one process.");
  return Number(text);
}
