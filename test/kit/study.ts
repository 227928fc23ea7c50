/** A study's folder without training: values come from a function with a known best point, some trials diverge, some break. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { draws } from "../../src/engine/random/philox.js";
import type { Job, Result } from "../../src/sweep/job.js";
import { openStudy } from "../../src/sweep/journal.js";
import { createSpace, unitOf } from "../../src/sweep/space.js";
import { createStrategy, type SweepSpec, sweepSchema } from "../../src/sweep/spec.js";
import { trialFolder } from "../../src/sweep/trial/folder.js";
import { simulate } from "../sweep/simulate.js";

export interface StudyOptions {
  readonly schedule: "full" | "asha" | "pbt";
  readonly trials?: number;
  readonly seeds?: number;
  readonly metric?: SweepSpec["metric"]["name"];
  /** Results that are written; the jobs after them are under way. Default: all. */
  readonly finished?: number;
  /** Default: with. */
  readonly curves?: "with" | "without";
}

const EPOCHS = 4.5;

export function studySpec({ schedule, trials = 24, seeds = 1, metric = "robust" }: StudyOptions): SweepSpec {
  return sweepSchema.parse({
    name: `${schedule}-study`,
    experiment: "quickstart",
    epochs: EPOCHS,
    space: {
      "optimizer.lr": { "log-uniform": [1e-4, 1e-1] },
      "objective.align-adversarial": { uniform: [0, 50] },
      "attack.steps": { int: [1, 4] },
      "attack.start": { choice: ["uniform", "normal", "none"] },
    },
    search: { kind: "sobol", trials },
    schedule: schedule === "asha" ? { kind: "asha", min: 0.5 } : schedule === "pbt" ? { kind: "pbt", interval: 1.5 } : { kind: "full" },
    metric: metric === "gap" ? { name: "gap", goal: "min" } : { name: metric },
    seeds,
  });
}

const peak = (u: number, at: number): number => 1 - 3 * (u - at) ** 2;

/** The learning rate decides most, the attack's steps some, the start little, alignment nothing. */
function judge(spec: SweepSpec, job: Job): Result {
  const [lr = 0, , steps = 0, start = 0] = unitOf(createSpace(spec.space), job.point);
  if (lr > 0.93) return { kind: "failed", reason: "the step's figures are not finite: loss = NaN", how: "diverged" };
  if (job.trial === 7) return { kind: "failed", reason: "its process ended with SIGKILL", how: "broke" };
  const sign = spec.metric.goal === "max" ? 1 : -1;
  const bySeed = Array.from({ length: spec.seeds }, (_, seed) => {
    const draw = draws({ seed: 4n, purpose: 248, step: seed, position: job.trial });
    const quality = 0.1 + 0.2 * peak(lr, 0.6) + 0.08 * peak(steps, 0.9) + 0.02 * start + 0.01 * draw.uniform();
    return sign === 1 ? quality * (1 - Math.exp(-1 - job.to)) : -(0.6 - quality) * (1 + Math.exp(-job.to));
  });
  const value = bySeed.reduce((sum, one) => sum + one, 0) / bySeed.length;
  return { kind: "value", value, bySeed, measured: { [spec.metric.name]: sign * value, clean: 0.5 + lr / 10 } };
}

/** Writes the folder as `isoerg sweep` leaves it, or as it stands while it runs, and returns it. */
export function writeStudy(folder: string, options: StudyOptions): string {
  const spec = studySpec(options);
  mkdirSync(folder, { recursive: true });
  const jobs = simulate({ strategy: createStrategy(spec, EPOCHS), parallel: 2, judge: (_point, _to, job) => judge(spec, job) });
  const study = openStudy(folder, { sweep: "sweep.yaml", digest: "d", spec, epochs: EPOCHS, now: () => new Date(0) });
  for (const { index: _, result: _result, ...plan } of jobs) study.decided(plan, "simulated");
  const finished = options.finished ?? jobs.length;
  for (const { index, result } of jobs.slice(0, finished)) study.finished(index, result as Result);
  study.close();
  if (finished === jobs.length) writeFileSync(join(folder, "best.yaml"), "extends: quickstart\n");
  if ((options.curves ?? "with") === "with") for (const job of jobs.slice(0, finished)) writeCurve(folder, job);
  return folder;
}

function writeCurve(folder: string, { trial, to, result }: Job): void {
  const seedFolder = trialFolder(folder, trial, 1);
  mkdirSync(seedFolder, { recursive: true });
  const height = result?.kind === "value" ? 0.2 + Math.abs(result.value) : 0.1;
  const numSteps = Math.round(40 * to);
  const lines = Array.from({ length: numSteps }, (_, step) =>
    JSON.stringify({
      step,
      epoch: (step + 1) / 40,
      generation: 1,
      worldSize: 1,
      batchSize: 64,
      time: new Date(step * 100).toISOString(),
      stepMs: 100,
      samplesPerSecond: 640,
      metrics: {
        loss: 2,
        "accuracy/clean": height * 1.5 * (1 - Math.exp(-step / 60)),
        "accuracy/adversarial": height * (1 - Math.exp(-step / 60)),
      },
      phasesMs: [{}],
    }),
  );
  writeFileSync(join(seedFolder, "metrics.jsonl"), `${lines.join("\n")}\n`);
}
