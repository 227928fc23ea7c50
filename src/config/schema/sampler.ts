/** `sampler`: how generated samples are made. Step sizes, clamps and noise are in pixels. */
import { z } from "zod";

export const samplerSchema = z.strictObject({
  kind: z
    .enum(["sgld", "proximal", "dat"])
    .default("sgld")
    .describe(
      "sgld: Langevin steps (JEM; with clampGradient SADA-JEM); proximal: JEM++'s inner loop over the first layer; dat: steps of fixed L2 length",
    ),
  chains: z.int().nonnegative().default(64).describe("chains advanced in one generative step, over all workers"),
  bufferSize: z.int().positive().default(10_000).describe("chains kept in the replay buffer, over all workers"),
  steps: z.int().nonnegative().default(20).describe("Langevin steps for each training step; with a curriculum, the most there will be"),
  stepSize: z.number().positive().default(1).describe("factor of the energy's input gradient; dat: the step's L2 length"),
  noise: z.number().nonnegative().default(0.01).describe("standard deviation of the noise of each step, in pixels"),
  clampGradient: z
    .number()
    .positive()
    .nullable()
    .default(null)
    .describe("sgld, proximal: largest move of one pixel in one (inner) step before noise; null for none"),
  innerSteps: z.int().positive().default(5).describe("proximal: inner steps for each input gradient"),
  conditional: z
    .boolean()
    .default(false)
    .describe("each chain belongs to a class and descends E(x,y) in place of E(x); a buffer's slots hold all classes alike"),
  curriculum: z
    .strictObject({
      auc: z.number().min(0.5).max(1).default(0.8).describe("how well energies must tell data from generated samples"),
      window: z.int().positive().default(1000).describe("latest samples of either kind that are judged"),
    })
    .nullable()
    .default(null)
    .describe("steps grow from 0 to `steps`, by one whenever the energies tell data from generated samples this well (DAT); null for none"),
  reinit: z.number().min(0).max(1).default(0.05).describe("share of chains that start anew"),
  start: z
    .enum(["uniform", "gaussian", "class-gaussian", "data"])
    .default("class-gaussian")
    .describe("uniform noise, one Gaussian of all data, that of a class, or an image of the step's batch"),
  every: z.int().positive().default(1).describe("generative terms are on in every n-th step"),
});
