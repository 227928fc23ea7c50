/**
 * `attack`: how adversarial samples are made. `eps` and step sizes are in pixels.
 *
 * One flat section for every kind of attack, so that `attack.kind=n-fgsm` on the command line turns any experiment into its cheap
 * variant; which keys a kind reads is said with each. An evaluation's attack is PGD and has fewer keys.
 */
import { z } from "zod";
import { pixels } from "./pixels.js";

/** PGD as an evaluation uses it: always upwards, always inside the ball. */
export const attackSchema = z.strictObject({
  norm: z.enum(["linf", "l2"]).default("linf"),
  eps: pixels.prefault("8/255").describe("radius of the ball, in pixels"),
  steps: z.int().nonnegative().default(10),
  stepSize: pixels.prefault("2/255").describe("in pixels"),
  start: z.enum(["uniform", "zero"]).default("uniform").describe("uniform in the ball, or the sample itself"),
  target: z.enum(["cross-entropy", "margin", "energy", "joint-energy"]).default("cross-entropy").describe("what the attack ascends"),
  restarts: z.int().positive().default(1).describe("the strongest of so many starts is kept"),
});

/** In training. */
export const trainingAttackSchema = attackSchema
  .extend({
    steps: z.int().nonnegative().default(10).describe("pgd"),
    stepSize: pixels.prefault("2/255").describe("pgd, free, yopo: in pixels"),
    restarts: z.int().positive().default(1).describe("pgd: the strongest of so many starts is kept"),
    kind: z
      .enum(["pgd", "fgsm-rs", "n-fgsm", "free", "yopo"])
      .default("pgd")
      .describe(
        "pgd: `steps` steps; fgsm-rs, n-fgsm: one step of `fgsmStep` from a random start; free, yopo: the perturbation is moved by the update's own backward pass",
      ),
    start: z
      .enum(["uniform", "zero", "gaussian"])
      .default("uniform")
      .describe("pgd, free, yopo: uniform in the ball, the sample itself, or the sample plus N(0, startNoise) (TRADES)"),
    startNoise: z.number().positive().default(0.001).describe("of a gaussian start: its standard deviation, in pixels"),
    target: z
      .enum(["cross-entropy", "margin", "kl", "energy", "joint-energy", "cross-entropy-energy", "eb-jdat"])
      .default("cross-entropy")
      .describe("pgd, fgsm-rs, n-fgsm: the function that the attack follows; free and yopo ascend the objective itself"),
    direction: z.enum(["ascend", "descend"]).default("ascend").describe("pgd, fgsm-rs, n-fgsm: descend follows the target downhill"),
    energyWeight: z.number().default(1).describe("target cross-entropy-energy: lambda of CE(x,y) + lambda E(x)"),
    project: z
      .boolean()
      .default(true)
      .describe(
        "pgd: false lets the attack leave its ball, as eb-jdat's released code does; eps is then only the start's radius and is not asserted",
      ),
    fgsmStep: z
      .number()
      .positive()
      .nullable()
      .default(null)
      .describe("fgsm-rs, n-fgsm: the one step, in eps; null for the published 1.25 and 1"),
    noiseRadius: z.number().nonnegative().default(2).describe("n-fgsm: its start is uniform within so many eps"),
    replays: z.int().positive().default(4).describe("free: updates from one batch; yopo: full passes over one batch (m)"),
    innerSteps: z.int().positive().default(3).describe("yopo: steps of the perturbation for each full pass (n)"),
    overfitting: z
      .strictObject({
        everySteps: z.int().nonnegative().default(0).describe("steps between two looks for catastrophic overfitting; 0 for none"),
        samples: z.int().positive().default(64).describe("training samples looked at, the first of the global batch"),
        steps: z.int().positive().default(5).describe("of the short PGD that FGSM is compared with"),
      })
      .prefault({}),
  })
  .superRefine(({ kind, norm, project }, context) => {
    const refuse = (key: string, message: string): void => context.addIssue({ code: "custom", path: [key], message });
    if (kind === "n-fgsm" && norm !== "linf") refuse("norm", "attack.kind n-fgsm is defined in linf; take that, or fgsm-rs");
    if (kind !== "pgd" && !project) refuse("project", `leaving the ball is a setting of pgd, and attack.kind is ${kind}`);
  });
