/**
 * The data set of a run whose workers read shards themselves: its place and settings are the run's configuration, its contents
 * the manifest that the coordinator has checked. One object a worker process; every generation's slices come from it.
 */
import type { Config } from "../config/schema.js";
import { Dataset } from "../data/dataset.js";
import { openDatasetFiles } from "../data/dataset-files.js";
import { parseManifest } from "../data/manifest.js";
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

/** null where the coordinator hands samples out: a plain path is a folder that only its own machine sees. */
export function openOwnShards({ configJson, manifestJson }: Welcome, onNotice: (message: string) => void): OwnShards | null {
  const config = JSON.parse(configJson) as Config; // the coordinator's own, checked there
  const { data, storage, epochs } = config;
  if (data?.path === undefined || !isLocator(data.path)) return null;
  const manifest = parseManifest(manifestJson, "the coordinator's manifest");
  const files = openDatasetFiles(data.path, { storage, onNotice });
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
