/**
 * What an evaluation of robustness attacks: any classifier with the samples it was trained for. A run brings its data, its seed and a
 * folder for what attacks have found; for other models they are said, and the folder is in the user's cache.
 */
import { join } from "node:path";
import { checkpointName } from "../../checkpoint/store.js";
import { openDataset } from "../../data/dataset.js";
import type { SampleSource } from "../../data/samples.js";
import { defaultCacheFolder } from "../../data/sources/fetcher.js";
import type { Classifier } from "../../model/model.js";
import { IsoergError } from "../../util/error.js";
import type { InputOptions } from "../foreign/input.js";
import { openClassifier, recogniseClassifier } from "../open-classifier.js";
import type { WeightsKind } from "../weights.js";

export interface RobustnessSubject extends AsyncDisposable {
  readonly classifier: Classifier;
  readonly inputShape: readonly [number, number, number];
  readonly numClasses: number;
  readonly data: SampleSource;
  readonly seed: number;
  /** A path that means these very weights later too: a run may make another checkpoint meanwhile. */
  readonly pinned: string;
  readonly weights: WeightsKind | "auto";
  /** All that its figures depend on. */
  readonly identity: { readonly weights: string; readonly data: string; readonly seed: number; readonly input: InputOptions };
  /** Where the folders of its evaluations lie, and how their names begin. */
  readonly state: { readonly folder: string; readonly prefix: string };
}

export interface SubjectOptions {
  readonly path: string;
  readonly dataPath?: string;
  readonly weights: WeightsKind | "auto";
  readonly input?: InputOptions;
}

/** The engine has been started. @throws IsoergError USAGE, DATA, CONFIG or CHECKPOINT for what is missing or does not fit together. */
export async function openRobustnessSubject({ path, dataPath, weights, input = {} }: SubjectOptions): Promise<RobustnessSubject> {
  const found = await recogniseClassifier(path);
  const folder = dataPath ?? (found.kind === "run" ? found.run.config.data.path : undefined);
  if (folder === undefined) {
    throw new IsoergError("USAGE", "a model without a run needs --data", {
      hint: "Name the prepared data set that it was trained for, for example --data data/cifar10.",
    });
  }
  const data = await openDataset(folder, "test", found.kind === "run" ? { storage: found.run.config.storage } : {});
  try {
    const opened = await openClassifier(found, { data, weights, input });
    const seed = found.kind === "run" ? found.run.config.seed : 1;
    return {
      classifier: opened.classifier,
      inputShape: opened.inputShape,
      numClasses: opened.numClasses,
      data,
      seed,
      pinned: found.kind === "run" ? found.run.checkpoint.path : found.file,
      weights: opened.weights === "averaged" || opened.weights === "last" ? opened.weights : "auto",
      identity: { weights: opened.fingerprint, data: data.manifestSha256, seed, input },
      state:
        found.kind === "run"
          ? { folder: join(found.run.folder, "robustness"), prefix: checkpointName(found.run.checkpoint.step) }
          : { folder: join(defaultCacheFolder(), "robustness"), prefix: opened.kind },
      async [Symbol.asyncDispose]() {
        opened.dispose();
        await data.close();
      },
    };
  } catch (error) {
    await data.close();
    throw error;
  }
}
