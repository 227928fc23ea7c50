/**
 * What decisions cost whoever uses a model: a YAML file of the owner, since no model knows it.
 *
 *   currency: EUR
 *   attackRate: 0.01            # share of decisions whose input is attacked or disturbed
 *   mistakes:
 *     default: 1                # of any mistake that is not named below
 *     classes:
 *       truck:                  # true class
 *         automobile: 0.2       # decided class
 *         default: 40           # any other
 *   abstain: { below: 0.6, cost: 0.5 }   # nobody relies on less sure decisions; each is looked at by a person
 *   compute: { default: 0.02, runs: { quickstart: 0.05 } }   # of 1,000 decisions
 */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { complain } from "../../config/complaint.js";
import { parseYamlLayer } from "../../config/positions.js";
import { IsoergError } from "../../util/error.js";
import { didYouMean } from "../../util/nearest.js";
import { NUM_BANDS } from "./decisions.js";

const cost = z.number().nonnegative();

export const costsSchema = z.strictObject({
  currency: z.string().min(1).default("units").describe("how amounts are called"),
  attackRate: z.number().min(0).max(1).describe("share of decisions whose input is attacked or disturbed, from 0 to 1"),
  mistakes: z.strictObject({
    default: cost.describe("cost of a mistake that is not named under classes"),
    classes: z.record(z.string(), z.record(z.string(), cost)).default({}).describe("true class: { decided class: cost, default: cost }"),
  }),
  abstain: z
    .strictObject({
      below: z
        .number()
        .min(0)
        .max(1)
        .refine((value) => Math.abs(value * NUM_BANDS - Math.round(value * NUM_BANDS)) < 1e-9, {
          message: `decisions are counted in bands of ${1 / NUM_BANDS}; take a multiple of that`,
        })
        .describe("decisions with less confidence are not relied upon"),
      cost: cost.describe("cost of a decision that is not relied upon, for example of a person who looks"),
    })
    .nullable()
    .default(null),
  compute: z
    .strictObject({
      default: cost.default(0).describe("cost of computing 1,000 decisions"),
      runs: z.record(z.string(), cost).default({}).describe("the same of runs, by their names"),
    })
    .prefault({}),
});

export type Costs = z.infer<typeof costsSchema>;

/** @param where how the text is called in messages. @throws IsoergError CONFIG with file:line:column */
export function parseCosts(text: string, where: string): Costs {
  const layer = parseYamlLayer(text, where);
  const parsed = costsSchema.safeParse(layer.tree);
  if (!parsed.success) throw complain(parsed.error.issues, layer, costsSchema, where);
  return parsed.data;
}

/** @throws IsoergError USAGE where there is no such file; CONFIG for what can't be understood */
export async function readCosts(path: string): Promise<Costs> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new IsoergError("USAGE", `${path} can't be read: ${(cause as Error).message}`, {
      hint: "--costs takes a YAML file of costs",
      cause,
    });
  }
  return parseCosts(text, path);
}

const DEFAULT = "default";

/** costs[true][decided], 0 on the diagonal. @throws IsoergError CONFIG for a class that the data do not have */
export function costMatrix({ mistakes }: Costs, classes: readonly string[]): number[][] {
  const known = (name: string, hint: string): void => {
    if (classes.includes(name)) return;
    throw new IsoergError("CONFIG", `costs: the data have no class '${name}'${didYouMean(name, classes)}`, {
      hint: `${hint}: ${classes.join(", ")}`,
    });
  };
  for (const [truth, row] of Object.entries(mistakes.classes)) {
    known(truth, "classes");
    for (const decided of Object.keys(row)) if (decided !== DEFAULT) known(decided, "classes, or default");
  }
  return classes.map((truth) => {
    const row = mistakes.classes[truth] ?? {};
    return classes.map((decided) => (truth === decided ? 0 : (row[decided] ?? row[DEFAULT] ?? mistakes.default)));
  });
}
