/** What tests of commands share about a model that was trained elsewhere. */
import { join } from "node:path";
import { analyzeCommand } from "../../src/cli/analyze.js";
import { call, type TrainedPlace } from "../kit/command.js";
import { saveLayersModel } from "../kit/foreign-models.js";

/** Saves a TensorFlow.js model for images like the run's and analyses it on the run's data. @returns where it is */
export async function analyzeKeras(
  place: TrainedPlace,
  options: Pick<NonNullable<Parameters<typeof saveLayersModel>[1]>, "ending">,
  ...args: readonly string[]
): Promise<string> {
  const model = await saveLayersModel(join(place.folder, "keras"), { ...options, shape: [8, 8, 3], classes: 3 });
  await call(analyzeCommand(), model, "--data", place.data, ...args);
  return model;
}
