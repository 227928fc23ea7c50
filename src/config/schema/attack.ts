/** `attack`: how adversarial samples are made. `eps` and step sizes are in pixels. */
import { z } from "zod";
import { pixels } from "./pixels.js";

export const attackSchema = z.strictObject({
  norm: z.enum(["linf", "l2"]).default("linf"),
  eps: pixels.prefault("8/255").describe("radius of the ball, in pixels"),
  steps: z.int().nonnegative().default(10),
  stepSize: pixels.prefault("2/255").describe("in pixels"),
  start: z.enum(["uniform", "zero"]).default("uniform").describe("uniform in the ball, or the sample itself"),
  target: z.enum(["cross-entropy", "margin", "energy", "joint-energy"]).default("cross-entropy").describe("what the attack ascends"),
  restarts: z.int().positive().default(1).describe("the strongest of so many starts is kept"),
});
