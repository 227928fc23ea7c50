/**
 * The `robustness` section of evaluation.json: every figure with its norm, its budget in pixels, its iterations, its number of
 * samples and its 95 % interval, and sample by sample which ones withstood.
 */
import { z } from "zod";

const count = z.int().nonnegative();

export const accuracySchema = z.object({
  correct: count,
  total: count,
  accuracy: z.number(),
  /** Wilson, 95 %. */
  interval: z.tuple([z.number(), z.number()]).readonly(),
});

const norm = z.enum(["linf", "l2"]);

const attackSchema = z.object({
  name: z.string(),
  /** For people, with steps, targets or queries. */
  title: z.string(),
  kind: z.enum(["gradient", "query", "chance"]),
  /** Iterations that a sample withstood which was not fooled. */
  iterations: count,
  /** Samples that the attacks before left standing, and how many of these it fooled. */
  attacked: count,
  fooled: count,
  /** Correct under this attack and all before it. */
  accuracy: accuracySchema,
});

const probeSchema = z.object({
  id: z.string(),
  title: z.string(),
  norm,
  eps: z.number(),
  iterations: count,
  /** Among the correctly classified samples that were probed. */
  accuracy: accuracySchema,
});

const checkSchema = z.object({
  id: z.string(),
  /** What should hold. */
  title: z.string(),
  verdict: z.enum(["pass", "suspicious", "not applicable"]),
  /** The figures that decided, for people. */
  figures: z.string(),
});

const certificationSchema = z.object({
  norm: z.literal("l2"),
  /** Standard deviation of the noise in pixels. */
  sigma: z.number(),
  /** Draws that choose the class, draws that estimate its probability, and the share of certificates that may be wrong. */
  select: count,
  estimate: count,
  alpha: z.number(),
  /** No larger radius can be certified with so many draws. */
  radiusCap: z.number(),
  /** Every so many-th test sample. */
  every: count,
  total: count,
  abstained: count,
  /** Correct and certified at least so far, in L2 pixels. */
  curve: z.array(z.object({ radius: z.number(), accuracy: accuracySchema })),
  /** Of the smoothed classifier's plain predictions (algorithm PREDICT), where abstaining is an error. */
  predicted: accuracySchema,
  samples: z.array(z.object({ id: count, label: count, answer: z.int(), radius: z.number(), hits: count })),
});

const spread = z.object({ mean: z.number(), median: z.number(), max: z.number() });

export const robustnessSchema = z.object({
  version: z.literal(1),
  /** Identifies weights, data, attacks and engine. */
  fingerprint: z.string(),
  evaluatedAt: z.string(),
  norm,
  /** In pixels, whose range is [0,1]. */
  eps: z.number(),
  /** Test samples 0 to n-1. */
  samples: count,
  /** Whether this is AutoAttack in its standard version. */
  standard: z.boolean(),
  precision: z.literal("fp32"),
  clean: accuracySchema,
  attacks: z.array(attackSchema),
  /** Correct without attack and under all attacks, sample by sample; null where there was no attack. */
  robust: accuracySchema.nullable(),
  perSample: z.object({ clean: z.string(), robust: z.string() }),
  checklist: z
    .object({
      /** Correctly classified among the first so many test samples. */
      numProbed: count,
      numCorrect: count,
      checks: z.array(checkSchema),
      probes: z.array(probeSchema),
    })
    .nullable(),
  /** Accuracy among the probed samples against the budget, smallest first; each point is an attack of its own. */
  curve: z.array(probeSchema),
  surfaces: z.array(z.object({ id: count, side: count, loss: z.array(z.number()) })),
  /** Largest changes that an attack found within the budget: lower bounds of the true ones. */
  sensitivity: z
    .object({ norm, eps: z.number(), steps: count, total: count, logits: spread, lipschitz: spread, energy: spread })
    .nullable(),
  certification: certificationSchema.nullable(),
  /** Time of computing, over all processes. */
  computeMs: z.number(),
});

export type Robustness = z.infer<typeof robustnessSchema>;
export type RobustCheck = z.infer<typeof checkSchema>;
export type Probe = z.infer<typeof probeSchema>;
