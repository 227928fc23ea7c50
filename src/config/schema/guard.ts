/** `guard`: when a training that goes astray is taken back, and what is changed then. See src/train/guard/README.md. */
import { z } from "zod";

export const guardSchema = z.strictObject({
  mode: z.enum(["auto", "on", "off"]).default("auto").describe("auto: on for objectives that read adversarial or generated samples"),
  window: z.int().min(4).default(50).describe("readings of a signal that make up its usual level"),
  patience: z.int().min(1).default(5).describe("latest readings whose median is judged: one wild step is no alarm"),
  maxAlarms: z.int().nonnegative().default(5).describe("the alarm after so many ends the run with a post-mortem"),
  limits: z
    .strictObject({
      energy: z.number().positive().default(1000).describe("root mean square of E over clean and generated samples"),
      contrast: z.number().positive().default(300).describe("|mean E(generated) - mean E(clean)|"),
      chainGradient: z.number().positive().default(10_000).describe("L2 norm of dE/dx on chains, mean"),
      deadGradient: z.number().nonnegative().default(1e-7).describe("the same, below which chains no longer move: the network is dead"),
      saturation: z.number().positive().default(0.6).describe("share of pixels at 0 or 1, chains over clean samples"),
      gradientNorm: z.number().positive().default(1e6).describe("of the whole gradient before clipping"),
      accuracyDrop: z.number().positive().default(0.35).describe("of clean training accuracy below its best level so far"),
      robustDrop: z
        .number()
        .positive()
        .default(0.2)
        .describe("catastrophic overfitting: fall of training accuracy under the checking attack"),
    })
    .prefault({}),
  growth: z.number().gt(1).default(20).describe("a signal so many times above its usual level, and above its floor, is an alarm"),
  onAlarm: z
    .strictObject({
      newStreams: z.boolean().default(true).describe("draw noise, starts and augmentation anew"),
      lrFactor: z.number().positive().max(1).default(0.5).describe("learning rate times this"),
      stepsFactor: z.number().min(1).default(2).describe("Langevin steps times this; after catastrophic overfitting, attack steps"),
      maxStepsFactor: z.number().min(1).default(4).describe("never more than so many times the configured steps"),
      energyL2: z
        .number()
        .nonnegative()
        .default(0.05)
        .describe("least weight of energy-l2 after the first alarm; doubled at each later one"),
    })
    .prefault({}),
});
