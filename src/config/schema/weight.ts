/**
 * The weight of a term: a number, or a number with a schedule, or one that follows a measured gap. Shares are of the training.
 *
 *   before `after`: 0;  then rising to `value` over `warmup`;  then `value`, or on its way to `end` at the training's end
 */
import { z } from "zod";

/** Figures of a step that can drive a weight; their magnitude counts. */
export const GAPS = ["gap/adversarial", "gap/adversarial-absolute", "gap/generated"] as const;

const share = z.number().min(0).max(1);

export const weightShape = {
  value: z.number().nonnegative(),
  after: share.default(0).describe("share of the training before which the weight is 0"),
  warmup: share.default(0).describe("share of the training over which the weight then rises to its value"),
  shape: z.enum(["linear", "cosine"]).default("linear").describe("of the rise, and of the way to `end`"),
  end: z.number().nonnegative().nullable().default(null).describe("weight at the training's end; null to stay at `value`"),
  driven: z
    .strictObject({
      by: z.enum(GAPS).describe("the weight rises while the magnitude of this figure is above the target, and falls below it"),
      target: z.number().positive().describe("the gap to reach, in units of energy"),
      rate: z.number().positive().max(1).default(0.02).describe("largest relative change of the weight in one step"),
      max: z.number().positive().describe("largest weight; `value` is the smallest"),
    })
    .nullable()
    .default(null)
    .describe("lets a measured gap of energies drive the weight; null for a fixed schedule"),
} as const;

const fits = ({ value, driven }: { value: number; driven: { max: number } | null }): boolean => driven === null || driven.max >= value;

/** The weight of a term that has settings of its own beside it. `3` is short for `{value: 3}`. */
export function weightWith<S extends z.ZodRawShape>(settings: S) {
  return z.preprocess(
    (value) => (typeof value === "number" ? { value } : value),
    z.strictObject({ ...weightShape, ...settings }).refine((weight) => fits(weight as never), {
      path: ["driven", "max"],
      error: "the largest weight is below `value`, the smallest",
    }),
  );
}

export const weight = weightWith({});
