/**
 * evaluation.json: every figure of an evaluation with what it was measured on, so that a report, a comparison or a reader years
 * later needs nothing else. Energies are kept sample by sample: each gap and histogram can be computed from them again.
 *
 * Read with the schema, never trusted. `version` changes when a figure's meaning does.
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import { z } from "zod";
import { IsoergError } from "../util/error.js";
import { decisionsSchema } from "./decision/decisions.js";
import { robustnessSchema } from "./robustness/robustness.js";

const count = z.int().nonnegative();

const accuracySchema = z.object({
  correct: count,
  total: count,
  accuracy: z.number(),
  /** Wilson, 95 %. */
  interval: z.tuple([z.number(), z.number()]).readonly(),
});

const gapSchema = z.object({
  numClean: count,
  numOther: count,
  meanClean: z.number(),
  meanOther: z.number(),
  stdClean: z.number(),
  signedMean: z.number(),
  meanAbsolute: z.number().nullable(),
  wasserstein: z.number(),
  wassersteinOverStd: z.number().nullable(),
  overlap: z.object({ coefficient: z.number(), numBins: count, from: z.number(), to: z.number() }),
});

const attackSchema = z.object({
  /** For people, for example `PGD-20, cross-entropy`. */
  name: z.string(),
  norm: z.enum(["linf", "l2"]),
  /** In pixels, whose range is [0,1]. */
  eps: z.number(),
  steps: count,
  stepSize: z.number(),
  start: z.enum(["uniform", "zero"]),
  target: z.string(),
  restarts: count,
  accuracy: accuracySchema,
  /** Measured on the attacked samples in the attack's norm; at most eps but for rounding. */
  largestDistance: z.number(),
  /** Under this attack; missing in evaluations of before it was kept. */
  decisions: decisionsSchema.optional(),
});

const energiesSchema = z.object({
  clean: z.array(z.number()),
  /** Of the first attack, pairs of `clean`. */
  adversarial: z.array(z.number()),
  /** Fresh chains; empty where none were asked for. */
  generated: z.array(z.number()),
  /** Chains of the checkpoint's replay buffer that were in use; empty where there are none. */
  buffer: z.array(z.number()),
});

const modelSchema = z.object({
  weights: z.enum(["averaged", "last", "initial"]),
  /** On the whole test split. */
  clean: accuracySchema,
  /** On the whole test split; missing in evaluations of before it was kept. */
  decisions: decisionsSchema.optional(),
  attacks: z.array(attackSchema),
  /** Correct under every attack, sample by sample; null where there is only one attack. */
  worstCase: accuracySchema.nullable(),
  energies: energiesSchema,
  gaps: z.object({ adversarial: gapSchema.nullable(), generated: gapSchema.nullable(), buffer: gapSchema.nullable() }),
});

export const evaluationSchema = z.object({
  format: z.literal("isoerg-evaluation"),
  version: z.literal(1),
  /** The run's name, and the step whose checkpoint this is. */
  run: z.string(),
  step: count,
  seed: z.number(),
  evaluatedAt: z.string(),
  isoergVersion: z.string(),
  engine: z.object({ name: z.string(), version: z.string(), device: z.string() }),
  data: z.object({ name: z.string(), digest: z.string(), numTest: count, classes: z.array(z.string()) }),
  settings: z.object({
    /** Test samples 0 to n-1 are attacked. */
    samples: count,
    freshChains: count,
    freshSteps: count,
    /** Of attacks and figures; chains may be drawn in less. */
    precision: z.enum(["fp32", "tf32", "bf16"]),
    chainPrecision: z.enum(["fp32", "tf32", "bf16"]),
  }),
  trained: modelSchema,
  /** The same network at its initial values; null where that was left out. */
  untrained: modelSchema.nullable(),
  /** AutoAttack, its checklist, certification; missing where none was asked for. */
  robustness: robustnessSchema.optional(),
});

export type Evaluation = z.infer<typeof evaluationSchema>;
export type ModelEvaluation = z.infer<typeof modelSchema>;
export type AttackEvaluation = z.infer<typeof attackSchema>;
export type Energies = z.infer<typeof energiesSchema>;

/** @throws IsoergError DATA that names the first thing wrong. */
export function parseEvaluation(text: string, where: string): Evaluation {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new IsoergError("DATA", `${where} is not JSON`, { hint: "Evaluate the run again: isoerg evaluate RUN", cause });
  }
  const parsed = evaluationSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new IsoergError("DATA", `${where} is not an evaluation that this version reads: ${issue?.path.join(".")}: ${issue?.message}`, {
    hint: "Evaluate the run again: isoerg evaluate RUN",
    cause: parsed.error,
  });
}

/** The evaluation in a file, or undefined where there is no such file. */
export async function readEvaluation(path: string): Promise<Evaluation | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new IsoergError("DATA", `${path} can't be read: ${(cause as Error).message}`, { cause });
  }
  return parseEvaluation(text, path);
}

/** Replaces the file in one move, so that a reader never sees half of it. */
export async function writeEvaluation(path: string, evaluation: Evaluation): Promise<void> {
  await writeFile(`${path}.tmp`, `${JSON.stringify(evaluation)}\n`);
  await rename(`${path}.tmp`, path);
}
