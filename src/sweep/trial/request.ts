/** What a trial's process is asked and what it answers: plain data that crosses a process's border. */
import { z } from "zod";
import { type Config, configSchema } from "../../config/schema.js";
import type { Job, Result } from "../job.js";
import type { Point } from "../space.js";
import type { SweepSpec } from "../spec.js";
import { trialFolder } from "./folder.js";

export const requestSchema = z.object({
  /** Resolved, with the trial's settings and seed in it. */
  config: configSchema,
  folder: z.string(),
  source: z.string(),
  fromEpochs: z.number(),
  toEpochs: z.number(),
  validation: z.int(),
  attacked: z.int(),
  engine: z.object({ engine: z.enum(["auto", "torch", "tensorflow", "wasm", "cpu"]), device: z.string(), threads: z.int() }),
});

export type TrialRequest = Readonly<z.infer<typeof requestSchema>>;

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

export interface RequestOptions {
  readonly spec: SweepSpec;
  /** Of the study, as the trial's process sees it. */
  readonly folder: string;
  /** The experiment with a point's settings and a seed in it. */
  readonly configOf: (point: Point, seed: number) => Config;
  readonly engine: TrialRequest["engine"];
}

/** @param source the job that is gone on from: this one, or that of another trial */
export function requestOf({ spec, folder, configOf, engine }: RequestOptions, job: Job, source: Job, seed: number): TrialRequest {
  return {
    config: configOf(job.point, seed),
    folder: trialFolder(folder, job.trial, seed),
    source: trialFolder(folder, source.trial, seed),
    fromEpochs: job.from,
    toEpochs: job.to,
    validation: spec.validation,
    attacked: spec.attacked,
    engine,
  };
}

/** A job's result from its seeds' trainings, one after the other; the first that failed is the job's failure. */
export async function resultOf(spec: SweepSpec, train: (seed: number) => Promise<TrialReply>): Promise<Result> {
  const bySeed: number[] = [];
  const measured = new Map<string, number[]>();
  for (let seed = 1; seed <= spec.seeds; seed++) {
    const reply = await train(seed);
    if (reply.kind === "failed") return reply;
    if (reply.kind !== "judged") return { kind: "failed", reason: "no answer", how: "broke" };
    const value = reply.metrics[spec.metric.name];
    if (value === null) return { kind: "failed", reason: `its ${spec.metric.name} is not a number`, how: "diverged" };
    bySeed.push(scoreOfMetric(value, spec.metric.goal));
    for (const [name, figure] of Object.entries(reply.metrics))
      if (figure !== null) measured.set(name, [...(measured.get(name) ?? []), figure]);
  }
  // A metric that one seed does not have has no mean.
  const whole = [...measured].filter(([, figures]) => figures.length === spec.seeds);
  return {
    kind: "value",
    value: mean(bySeed),
    bySeed,
    measured: Object.fromEntries(whole.map(([name, figures]) => [name, mean(figures)])),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
