/**
 * What a pod needs for the places of its experiment's data and checkpoints: volumes, mounts, variables, an account. Each component
 * gets what it uses and no more. Of a run the coordinator reads the data set's manifest and keeps the checkpoints; workers read
 * shards themselves where all of them see the place (src/storage/README.md). A trial of a sweep reads its data, and keeps its
 * checkpoints on the study's claim.
 *
 * Whoever reads a place that is no plain path keeps what it read in a folder of its pod, since the root file system is read-only: an
 * emptyDir that is bounded as the cache itself is.
 */
import { posix } from "node:path";
import type { V1EnvVar, V1NetworkPolicy, V1Volume, V1VolumeMount } from "@kubernetes/client-node";
import type { Config } from "../../config/schema.js";
import { IsoergError } from "../../util/error.js";
import { type Locator, parseLocator } from "../../util/locator.js";
import { type Component, selectorOf, WORKSPACE } from "../names.js";
import type { K8sOptions } from "../options.js";
import { bucketEnv, bucketPolicy, bucketTrust } from "./bucket.js";
import { isWithin, type SharedPlaces, sharedFolder, sharedMounts } from "./shared-claim.js";

/** What of a configuration says where things are. */
export type PlacedConfig = Pick<Config, "data" | "checkpoint" | "storage">;

export interface PodNeeds {
  readonly env: readonly V1EnvVar[];
  readonly mounts: readonly V1VolumeMount[];
  readonly volumes: readonly V1Volume[];
  /** Of disk, for the cache; 0 for none. */
  readonly cacheMiB: number;
  /** A ServiceAccount in place of the run's own. */
  readonly account: string | null;
}

const CACHE_FOLDER = "/var/cache/isoerg";
/** Beside the files themselves: claims, locks, blocks that are not full. A pod whose volume outgrows its limit is evicted. */
const CACHE_ROOM_MIB = 256;
/** A coordinator keeps no shards, only what it hands to all workers at their start; that fits its memory. */
const COORDINATOR_CACHE_MIB = 2048;
/** What is mounted in these pods already, or is the image's own. */
const TAKEN = ["/dev/shm", "/etc/isoerg", "/opt/isoerg", `${WORKSPACE}/runs`, "/tmp", "/usr"];

interface Uses {
  readonly data: Locator | "claim" | null;
  readonly checkpoints: Locator | null;
}

function usesOf(component: Component, { data, checkpoint }: PlacedConfig): Uses {
  const dataAt = parseLocator(data.path);
  return {
    data: dataAt ?? (component === "worker" ? null : "claim"),
    checkpoints: component === "coordinator" && checkpoint.path !== null ? parseLocator(checkpoint.path) : null,
  };
}

/** Whether the data set lies on the claim of prepared data sets. */
export function isOnDataClaim({ data }: PlacedConfig): boolean {
  return parseLocator(data.path) === null;
}

/** @throws IsoergError USAGE, CONFIG for places that the options don't lead to */
export function needsOf(component: Component, config: PlacedConfig, options: K8sOptions): PodNeeds {
  const { data, checkpoints } = usesOf(component, config);
  const { bucket, sharedClaim } = options;
  const usesBucket = [data, checkpoints].some(isInBucket);
  const own = { data: folderOf(data), checkpoints: folderOf(checkpoints) };
  const env: V1EnvVar[] = [];
  const mounts: V1VolumeMount[] = [];
  const volumes: V1Volume[] = [];
  const add = (more: Partial<Pick<PodNeeds, "env" | "mounts" | "volumes">>): void => {
    env.push(...(more.env ?? []));
    mounts.push(...(more.mounts ?? []));
    volumes.push(...(more.volumes ?? []));
  };
  if (data === "claim") {
    add({
      mounts: [dataMount(config.data.path)],
      volumes: [{ name: "data", persistentVolumeClaim: { claimName: options.dataClaim, readOnly: true } }],
    });
  }
  if (usesBucket) {
    const secret = (component === "worker" ? bucket.workerSecret : null) ?? bucket.secret;
    const place = isInBucket(data) ? `data.path is ${config.data.path}` : `checkpoint.path is ${config.checkpoint.path}`;
    add({ env: bucketEnv(place, config.storage, { ...bucket, secret }) });
    add(bucketTrust(bucket));
  }
  if ((own.data ?? own.checkpoints) !== null) {
    const folder = sharedFolder(sharedPlaces(config), sharedClaim);
    refuseTaken(folder, "--shared-claim");
    if (sharedClaim !== null) add(sharedMounts(own, folder, sharedClaim));
  }
  const wanted = data === null || data === "claim" ? 0 : config.storage.cacheMiB;
  const cacheMiB = component === "coordinator" ? Math.min(wanted, COORDINATOR_CACHE_MIB) : wanted;
  if (cacheMiB > 0) {
    const { cache } = config.storage;
    const folder = cache === null ? CACHE_FOLDER : posix.resolve(WORKSPACE, cache);
    if (cache !== null) refuseTaken(folder, "storage.cache");
    if (mounts.some(({ mountPath }) => isWithin(folder, mountPath)))
      throw new IsoergError("USAGE", `storage.cache: ${folder} lies in a volume of data or checkpoints; a cache is its pod's own`);
    add({
      env: cache === null ? [{ name: "ISOERG_CACHE", value: CACHE_FOLDER }] : [],
      mounts: [{ name: "cache", mountPath: folder }],
      volumes: [{ name: "cache", emptyDir: { sizeLimit: `${cacheMiB + CACHE_ROOM_MIB}Mi` } }],
    });
  }
  return { env, mounts, volumes, cacheMiB: cacheMiB > 0 ? cacheMiB + CACHE_ROOM_MIB : 0, account: usesBucket ? bucket.account : null };
}

/** The ways that pods of these components have beside those of every run. @throws IsoergError USAGE */
export function placePolicies(components: readonly Component[], config: PlacedConfig, options: K8sOptions): readonly V1NetworkPolicy[] {
  const using = components.filter((component) => Object.values(usesOf(component, config)).some(isInBucket));
  if (using.length === 0) return [];
  const podSelector = using.length === 1 ? selectorOf(options.name, using[0]) : selectorOf(options.name);
  return [bucketPolicy(options.name, podSelector, config.storage, options.bucket)];
}

/** Options that lead to no place of the experiment would give pods rights that nothing asks for. @throws IsoergError USAGE */
export function refuseIdle(components: readonly Component[], config: PlacedConfig, { bucket, sharedClaim }: K8sOptions): void {
  const used = components.flatMap((component) => Object.values(usesOf(component, config)));
  const isGiven =
    bucket.networks.length > 0 || [bucket.secret, bucket.workerSecret, bucket.account, bucket.ca, bucket.port].some((x) => x !== null);
  const hint = "set data.path or checkpoint.path, or leave the option out";
  if (isGiven && !used.some(isInBucket))
    throw new IsoergError("USAGE", "--bucket-... is for data and checkpoints at s3://bucket/prefix, and nothing is there", { hint });
  if (bucket.workerSecret !== null && !isInBucket(usesOf("worker", config).data))
    throw new IsoergError("USAGE", "--bucket-worker-secret is for data at s3://bucket/prefix: workers read nothing else there", { hint });
  if (sharedClaim !== null && !used.some((place) => folderOf(place) !== null))
    throw new IsoergError("USAGE", "--shared-claim is for data and checkpoints at file:///folder, and nothing is there", { hint });
}

/** The data claim holds a folder for each data set; it is mounted so that the experiment's is where it says. */
function dataMount(dataPath: string): V1VolumeMount {
  const path = posix.resolve(WORKSPACE, dataPath);
  const above = posix.dirname(path);
  const common = { name: "data", readOnly: true };
  // Mounted whole where that hides nothing: the coordinator then says itself what is missing.
  if (above !== WORKSPACE && above !== "/") return { ...common, mountPath: above };
  return { ...common, mountPath: path, subPath: posix.basename(path) };
}

/** Of the whole run: the claim is mounted at the same folder in all pods. */
function sharedPlaces({ data, checkpoint }: PlacedConfig): SharedPlaces {
  return {
    data: folderOf(parseLocator(data.path)),
    checkpoints: checkpoint.path === null ? null : folderOf(parseLocator(checkpoint.path)),
  };
}

function folderOf(place: Locator | "claim" | null): string | null {
  return place !== null && place !== "claim" && place.kind === "file" ? place.path : null;
}

function isInBucket(place: Locator | "claim" | null): boolean {
  return place !== null && place !== "claim" && place.kind === "s3";
}

function refuseTaken(folder: string, what: string): void {
  const taken = TAKEN.find((path) => isWithin(path, folder) || (path !== "/tmp" && isWithin(folder, path)));
  if (taken === undefined) return;
  throw new IsoergError("USAGE", `${what}: a volume at ${folder} would hide ${taken} of the pods, or lie in it`, {
    hint: "take another folder, as /mnt/shared or /var/cache/isoerg",
  });
}
