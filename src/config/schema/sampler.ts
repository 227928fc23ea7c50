/** `sampler`: how generated samples are made. Noise is in pixels. */
import { z } from "zod";

export const samplerSchema = z.strictObject({
  chains: z.int().nonnegative().default(64).describe("chains advanced in one generative step, over all workers"),
  bufferSize: z.int().positive().default(10_000).describe("chains kept in the replay buffer, over all workers"),
  steps: z.int().nonnegative().default(20).describe("Langevin steps for each training step"),
  stepSize: z.number().positive().default(1).describe("factor of the energy's input gradient"),
  noise: z.number().nonnegative().default(0.01).describe("standard deviation of the noise of each step, in pixels"),
  clampGradient: z
    .number()
    .positive()
    .nullable()
    .default(null)
    .describe("largest move of one pixel in one step before noise (proximal SGLD); null for none"),
  reinit: z.number().min(0).max(1).default(0.05).describe("share of chains that start anew"),
  start: z.enum(["uniform", "gaussian", "class-gaussian"]).default("class-gaussian"),
  every: z.int().positive().default(1).describe("generative terms are on in every n-th step"),
});
