/** What a trial's process is asked and what it answers: plain data that crosses a process's border. */
import { z } from "zod";
import type { configSchema } from "../../config/schema.js";
import type { SweepSpec } from "../spec.js";

export interface TrialRequest {
  /** Resolved, with the trial's settings and seed in it. */
  readonly config: z.infer<typeof configSchema>;
  readonly folder: string;
  readonly source: string;
  readonly fromEpochs: number;
  readonly toEpochs: number;
  readonly validation: number;
  readonly attacked: number;
  readonly engine: { readonly engine: "auto" | "torch" | "tensorflow" | "wasm" | "cpu"; readonly device: string; readonly threads: number };
}

const metrics = z.object({ clean: z.number(), robust: z.number(), worst: z.number(), gap: z.number().nullable() });

export const replySchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("step"), step: z.int(), total: z.int(), loss: z.number().nullable() }),
  z.object({ kind: z.literal("judged"), metrics }),
  z.object({ kind: z.literal("failed"), reason: z.string(), how: z.enum(["diverged", "broke"]) }),
]);

export type TrialReply = z.infer<typeof replySchema>;

/** What a metric's value is worth: larger is better. */
export function scoreOfMetric(value: number, goal: SweepSpec["metric"]["goal"]): number {
  return goal === "max" ? value : -value;
}
