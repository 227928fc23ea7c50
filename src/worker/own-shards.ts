/**
 * The data set of a run whose workers read shards themselves: its place and settings are the run's configuration, its contents
 * the manifest that the coordinator has checked. One object a worker process; every generation's slices come from it.
 *
 * A locator says that every worker is to read there. A plain path is the coordinator's own folder; a worker that finds the very
 * same data set by that path (a process beside the coordinator, a volume mounted at the same place) reads it as well, and spares
 * both a copy of every sample through gRPC. The others are sent their samples.
 */
import type { Config } from "../config/schema.js";
import { Dataset } from "../data/dataset.js";
import { type DatasetFiles, openDatasetFiles } from "../data/dataset-files.js";
import { type Manifest, parseManifest } from "../data/manifest.js";
import { numSteps, planOptionsOf } from "../data/plan.js";
import { isLocator } from "../util/locator.js";
import type { GenerationMessage, Welcome } from "../wire/messages.js";
import { ShardSlices } from "./shard-slices.js";
import type { SliceSource } from "./slices.js";

export interface OwnShards {
  /** A rank's slices from the generation's first step on. */
  slicesOf(message: GenerationMessage, groupSize: number): SliceSource;
  close(): Promise<void>;
}

/**
 * null where the coordinator has to send samples.
 * @throws IsoergError DATA for a manifest that can't be used
 */
export async function openOwnShards(
  { configJson, manifestJson }: Pick<Welcome, "configJson" | "manifestJson">,
  onNotice: (message: string) => void,
): Promise<OwnShards | null> {
  const config = JSON.parse(configJson) as Config; // the coordinator's own, checked there
  const { data, storage, epochs } = config;
  if (data?.path === undefined) return null;
  const files = openDatasetFiles(data.path, { storage, onNotice });
  const manifest = isLocator(data.path)
    ? parseManifest(manifestJson, "the coordinator's manifest")
    : await sameManifest(files, manifestJson).catch(() => null);
  if (manifest === null) {
    await files.close();
    return null;
  }
  const dataset = new Dataset(files, "train", { manifest, sha256: "" }, { subset: data.subset });
  const plan = planOptionsOf(config, dataset.numSamples);
  return {
    slicesOf: ({ rank, step, sliceWeights }, groupSize) =>
      new ShardSlices({
        dataset,
        plan,
        numSteps: numSteps(plan, epochs),
        fromStep: step,
        rank,
        weights: sliceWeights,
        groupSize,
        aheadShards: storage.ahead,
      }),
    close: () => dataset.close(),
  };
}

/** null where another data set lies there. @throws where there is none, or not all of it: what is not whole is nobody's to fail by */
async function sameManifest(files: DatasetFiles, manifestJson: string): Promise<Manifest | null> {
  const { manifest } = await files.readManifest();
  if (JSON.stringify(manifest) !== manifestJson) return null; // every file's hash is in it
  const check = await files.sizes();
  for (const shard of manifest.splits.train.shards) await check(shard);
  return manifest;
}
