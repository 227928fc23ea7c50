/**
 * The claim of a volume that every node mounts, for places of the form file:///folder. It is there already (other runs use it), and
 * is mounted at one folder in all pods, so that a place means the same in each: read-only, but in the pod that writes checkpoints,
 * where the data set within it stays read-only.
 */
import { posix } from "node:path";
import type { V1Volume, V1VolumeMount } from "@kubernetes/client-node";
import { IsoergError } from "../../util/error.js";
import type { SharedClaim } from "../options.js";

const VOLUME = "shared";

/** Folders of the places on shared volumes; null for one that lies elsewhere. */
export interface SharedPlaces {
  readonly data: string | null;
  readonly checkpoints: string | null;
}

/**
 * Where the claim is mounted: what was said, or the deepest folder above all places.
 * @throws IsoergError USAGE without a claim, or where no folder holds them
 */
export function sharedFolder(places: SharedPlaces, claim: SharedClaim | null): string {
  const found = [
    { key: "data.path", folder: places.data },
    { key: "checkpoint.path", folder: places.checkpoints },
  ].flatMap(({ key, folder }) => (folder === null ? [] : [{ key, folder: posix.resolve(folder) }]));
  if (claim === null) {
    throw new IsoergError("USAGE", `${found[0]?.key} is file://${found[0]?.folder}, which pods mount from a claim, and none is named`, {
      hint: "--shared-claim NAME, of a PersistentVolumeClaim that is there and that all nodes can mount",
    });
  }
  if (places.data !== null && places.checkpoints !== null && isWithin(places.checkpoints, places.data))
    throw new IsoergError("USAGE", `checkpoint.path lies in data.path (${places.data}), which pods can't write to`);
  const folder = claim.folder ?? found.map((place) => posix.dirname(place.folder)).reduce(commonFolder);
  const outside = found.find((place) => !isWithin(place.folder, folder));
  if (outside !== undefined)
    throw new IsoergError(
      "USAGE",
      `${outside.key} is file://${outside.folder}, which does not lie in ${folder}, where the claim ${claim.name} is mounted`,
    );
  if (folder === "/")
    throw new IsoergError("USAGE", `the claim ${claim.name} can't be mounted over a pod's whole file system`, {
      hint: "give places in a folder, as file:///mnt/shared/cifar10, or say where the claim is: --shared-claim NAME:/mnt/shared",
    });
  return folder;
}

/** For a pod that reads the data set there, writes checkpoints there, or both. */
export function sharedMounts(
  { data, checkpoints }: SharedPlaces,
  folder: string,
  { name }: SharedClaim,
): { mounts: readonly V1VolumeMount[]; volumes: readonly V1Volume[] } {
  const writes = checkpoints !== null;
  const dataWithin = data === null ? "" : posix.relative(folder, posix.resolve(data));
  return {
    mounts: [
      { name: VOLUME, mountPath: folder, ...(!writes && { readOnly: true }) },
      ...(writes && dataWithin !== ""
        ? [{ name: VOLUME, mountPath: posix.join(folder, dataWithin), subPath: dataWithin, readOnly: true }]
        : []),
    ],
    volumes: [{ name: VOLUME, persistentVolumeClaim: { claimName: name, ...(!writes && { readOnly: true }) } }],
  };
}

/** Whether a path is a folder, or lies in it. */
export function isWithin(path: string, folder: string): boolean {
  const from = posix.relative(folder, path);
  return from !== ".." && !from.startsWith("../");
}

function commonFolder(a: string, b: string): string {
  let folder = a;
  while (!isWithin(b, folder)) folder = posix.dirname(folder);
  return folder;
}
