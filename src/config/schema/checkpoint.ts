/** When checkpoints are saved, and which are kept. */
import { z } from "zod";
import { isLocator } from "../../util/locator.js";
import { placeSchema } from "./place.js";

export const checkpointSchema = z.strictObject({
  path: placeSchema
    .refine(isLocator, "write s3://bucket/prefix or file:///folder, or leave it out for the run's own folder")
    .nullable()
    .default(null)
    .describe("where they are kept, one place for each run; null for `checkpoints` in the run's folder"),
  interval: z
    .enum(["steps", "auto"])
    .default("steps")
    .describe("every `everySteps`, or as often as loses least, by the measured time of a save and rate of failures"),
  everySteps: z.int().positive().default(500),
  keepLast: z.int().positive().default(3),
  keepBest: z.int().nonnegative().default(0).describe("how many of the best to keep besides the last ones"),
  bestBy: z
    .string()
    .default("loss")
    .describe("the figure of metrics.jsonl that the best are told by; accuracies are better when higher, all others when lower"),
  checksumEvery: z.int().positive().default(1).describe("steps between proofs that all workers hold the same bits"),
});
