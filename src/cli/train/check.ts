/**
 * What can be known to fail before a run begins: files of the data set that are missing or cut short, a model or an
 * augmentation that does not fit its samples. Checked before the run's folder is made, so that a mistake leaves nothing behind.
 */
import type { Config } from "../../config/schema.js";
import { checkAugmentation } from "../../data/augment.js";
import { openDataset } from "../../data/dataset.js";
import { createModel } from "../../model/create.js";
import { createObjective } from "../../objective/objective.js";
import { checkStatistics } from "../../train/statistics.js";

/** @throws IsoergError DATA or CONFIG that names what is wrong. */
export async function checkExperiment(config: Config): Promise<void> {
  const { data, model, storage } = config;
  checkStatistics(config, createObjective(config.objective).views);
  await using source = await openDataset(data.path, "train", { subset: data.subset, storage });
  const { height, width, channels } = source.shape;
  createModel(model, [height, width, channels], source.numClasses);
  checkAugmentation(data.augment, source.shape);
}
