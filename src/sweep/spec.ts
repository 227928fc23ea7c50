/**
 * SWEEP.yaml: which experiment, which settings over which domains, how points are found, how much training each gets, and what
 * is judged. One schema, as for an experiment; mistakes are told with file, line and column.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { complain } from "../config/complaint.js";
import { parseYamlLayer } from "../config/positions.js";
import { IsoergError } from "../util/error.js";
import { createAsha } from "./schedule/asha.js";
import { createFull } from "./schedule/full.js";
import { createPbt } from "./schedule/pbt.js";
import type { Schedule } from "./schedule/schedule.js";
import { createGrid, gridSize } from "./search/grid.js";
import { createRandom } from "./search/random.js";
import type { Searcher } from "./search/searcher.js";
import { createSobol } from "./search/sobol.js";
import { createTpe } from "./search/tpe.js";
import { createSpace, domainSchema, type Space } from "./space.js";

const trials = z.int().positive().describe("points that are tried");

export const sweepSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]*$/)
    .default("sweep"),
  experiment: z.string().describe("a ready-made experiment's name, or the path of a file"),
  set: z.array(z.string()).default([]).describe("key=value settings that all trials share"),
  space: z.record(z.string(), domainSchema).refine((space) => Object.keys(space).length > 0, "needs at least one setting"),
  search: z
    .discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("grid"), points: z.int().positive().default(3).describe("values of a continuous setting") }),
      z.strictObject({ kind: z.literal("random"), trials }),
      z.strictObject({ kind: z.literal("sobol"), trials }),
      z.strictObject({
        kind: z.literal("tpe"),
        trials,
        startup: z.int().positive().default(10).describe("points before the first estimate"),
        goodShare: z.number().positive().max(0.5).default(0.15),
        candidates: z.int().positive().default(24),
      }),
    ])
    .describe("how points are found"),
  schedule: z
    .discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("full").describe("every trial is trained to the end") }),
      z.strictObject({
        kind: z.literal("asha").describe("the best of each rung go on"),
        reduction: z.int().min(2).default(3).describe("one in so many goes on"),
        min: z.number().positive().describe("epochs of the lowest rung"),
      }),
      z.strictObject({
        kind: z.literal("pbt").describe("a population that copies its best"),
        interval: z.number().positive().describe("epochs between two looks at the population"),
        quantile: z.number().positive().max(0.5).default(0.25),
        factor: z.number().gt(1).default(1.2),
        resample: z.number().min(0).max(1).default(0.25),
      }),
    ])
    .prefault({ kind: "full" }),
  epochs: z.number().positive().nullable().default(null).describe("a whole training; null: the experiment's"),
  metric: z
    .strictObject({
      name: z.enum(["clean", "robust", "worst", "gap"]).default("worst").describe("judged on validation samples"),
      goal: z.enum(["max", "min"]).default("max"),
    })
    .prefault({}),
  validation: z.int().positive().default(5000).describe("last samples of the training split, kept back and judged on"),
  attacked: z.int().positive().default(1000).describe("validation samples attacked"),
  seeds: z.int().positive().default(1).describe("trainings of each point, with seeds 1, 2, ...; their mean is its value"),
  parallel: z.int().positive().default(2).describe("jobs at a time"),
  threads: z.int().positive().default(1).describe("threads of one job"),
  seed: z.int().nonnegative().default(1).describe("of the search"),
});

export type SweepSpec = z.infer<typeof sweepSchema>;

/** @throws IsoergError CONFIG (file:line:column in the message), or USAGE where there is no such file. */
export function readSweep(path: string): SweepSpec {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new IsoergError("USAGE", `${path} can't be read`, { hint: "a sweep is a YAML file; see isoerg sweep --help", cause });
  }
  const layer = parseYamlLayer(text, path);
  const result = sweepSchema.safeParse(layer.tree);
  if (!result.success) throw complain(result.error.issues, layer, sweepSchema, path);
  return result.data;
}

export interface Strategy {
  readonly space: Space;
  readonly searcher: Searcher;
  readonly schedule: Schedule;
}

/** `epochs`: of a whole training. @throws IsoergError CONFIG where search and schedule do not go together. */
export function createStrategy(spec: SweepSpec, epochs: number): Strategy {
  const space = createSpace(spec.space);
  return { space, searcher: createSearcher(spec, space), schedule: createSchedule(spec, space, epochs) };
}

function createSearcher({ search, seed: number }: SweepSpec, space: Space): Searcher {
  const seed = BigInt(number);
  switch (search.kind) {
    case "grid":
      return createGrid(space, search);
    case "random":
      return createRandom(space, { seed });
    case "sobol":
      return createSobol(space, { seed });
    case "tpe":
      return createTpe(space, { ...search, seed });
    default:
      return search satisfies never;
  }
}

function createSchedule(spec: SweepSpec, space: Space, epochs: number): Schedule {
  const { schedule, search } = spec;
  const numTrials = search.kind === "grid" ? gridSize(space, search.points) : search.trials;
  const beyond = (what: string, value: number): IsoergError =>
    new IsoergError("CONFIG", `schedule.${what} is ${value} epochs, a whole training ${epochs}`, {
      hint: `make ${what} smaller than epochs`,
    });
  switch (schedule.kind) {
    case "full":
      return createFull({ trials: numTrials, max: epochs });
    case "asha":
      if (schedule.min >= epochs) throw beyond("min", schedule.min);
      return createAsha({ ...schedule, trials: numTrials, max: epochs, enough: search.kind === "tpe" ? search.startup : 1 });
    case "pbt":
      if (schedule.interval >= epochs) throw beyond("interval", schedule.interval);
      return createPbt({ ...schedule, space, seed: BigInt(spec.seed), population: numTrials, max: epochs });
    default:
      return schedule satisfies never;
  }
}
