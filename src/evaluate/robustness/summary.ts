/** From the results of all chunks to the `robustness` section: counting, nothing else. Pure. */

import { IsoergError, invariant } from "../../util/error.js";
import { quantile, sorted } from "../../util/quantile.js";
import { predictionScore, radiusCap } from "../certify/smoothing.js";
import { type Accuracy, accuracyOf } from "../figures/accuracy.js";
import { attacks, type Budget, standardAttacks, standardEffort } from "./attacks.js";
import { checklist } from "./checklist.js";
import type { Chunk } from "./chunk.js";
import { SANITY, SURFACE_SIDE } from "./probes.js";
import type { Probe, Robustness } from "./robustness.js";
import type { Task } from "./tasks.js";

export interface SummaryInput {
  readonly tasks: readonly Task[];
  readonly budget: Budget;
  /** All of them, finished, in order. */
  readonly chunks: readonly Chunk[];
  /** Of each sample. */
  readonly labels: Int32Array;
  readonly numClasses: number;
  readonly fingerprint: string;
  readonly evaluatedAt: string;
}

export function summarise(input: SummaryInput): Robustness {
  const { tasks, chunks, numClasses } = input;
  const numSamples = input.labels.length;
  const clean = chunks.map((chunk) => chunk.clean ?? "").join("");
  invariant(clean.length === numSamples, `${clean.length} of ${numSamples} samples were evaluated`);
  const cascade = tasks.filter((task) => task.kind === "cascade");
  const { norm, eps } = input.budget;

  /** Digits of a task over all samples. */
  const digits = (id: string, which: "attacked" | "stands"): string => chunks.map((chunk) => chunk.tasks[id]?.[which] ?? "").join("");
  const standing = [...clean].map((digit) => digit === "1");
  const attackFigures = cascade.map((task) => {
    const attacked = digits(task.id, "attacked");
    const stands = digits(task.id, "stands");
    let numAttacked = 0;
    let fooled = 0;
    for (let i = 0; i < numSamples; i++) {
      if (attacked[i] !== "1") continue;
      numAttacked++;
      if (stands[i] === "1") continue;
      fooled++;
      standing[i] = false;
    }
    const attack = attacks[task.attack];
    return {
      name: task.attack,
      title: attack.title(task.effort),
      kind: attack.kind,
      iterations: attack.iterations(task.effort, numClasses),
      attacked: numAttacked,
      fooled,
      accuracy: accuracyOf(standing.filter(Boolean).length, numSamples),
    };
  });

  const among = (id: string): Accuracy | null => {
    const attacked = ones(digits(id, "attacked"));
    return attacked > 0 ? accuracyOf(ones(digits(id, "stands")), attacked) : null;
  };
  const probeOf = (task: Extract<Task, { kind: "probe" | "curve" | "temperature" | "transfer" }>): Probe[] => {
    const accuracy = among(task.id);
    if (!accuracy) return [];
    const [title, iterations] =
      task.kind === "temperature" || task.kind === "transfer"
        ? [`APGD-CE ${task.kind === "transfer" ? "made on another model" : "at temperature"}, ${task.steps} steps`, task.steps]
        : [attacks[task.attack].title(task.effort), attacks[task.attack].iterations(task.effort, numClasses)];
    return [{ id: task.id.replace(/^probe:/, ""), title, norm: task.budget.norm, eps: task.budget.eps, iterations, accuracy }];
  };
  const probes = tasks.flatMap((task) =>
    task.kind === "probe" || task.kind === "temperature" || task.kind === "transfer" ? probeOf(task) : [],
  );
  const curve = tasks.flatMap((task) => (task.kind === "curve" ? probeOf(task) : []));
  const rowsOf = (id: string): number[][] => chunks.flatMap((chunk) => chunk.tasks[id]?.values ?? []);

  const sanityTask = tasks.find((task) => task.kind === "sanity");
  const sanity = sanityTask ? rowsOf(sanityTask.id) : [];
  const counted = (column: number): number => sanity.filter((row) => row[column] === 1).length;
  const surfaceTask = tasks.find((task) => task.kind === "surface");
  const surfaceIds = surfaceTask ? indicesOf(digits(surfaceTask.id, "attacked")) : [];
  const surfaceStands = surfaceTask ? digits(surfaceTask.id, "stands") : "";
  const pgdStands = digits("probe:pgd-restarts", "stands");
  const square = attackFigures.find(
    (attack, i) => attack.kind === "query" && attackFigures.slice(0, i).some((earlier) => earlier.kind === "gradient"),
  );

  const sensitivityTask = tasks.find((task) => task.kind === "sensitivity");
  const sensitivities = sensitivityTask ? rowsOf(sensitivityTask.id) : [];
  const column = (at: number) => spreadOf(sensitivities.map((row) => row[at] as number));

  return {
    version: 1,
    fingerprint: input.fingerprint,
    evaluatedAt: input.evaluatedAt,
    norm,
    eps,
    samples: numSamples,
    standard: isStandard(cascade, numClasses),
    precision: "fp32",
    clean: accuracyOf(ones(clean), numSamples),
    attacks: attackFigures,
    robust: cascade.length > 0 ? accuracyOf(standing.filter(Boolean).length, numSamples) : null,
    perSample: { clean, robust: standing.map((stands) => (stands ? "1" : "0")).join("") },
    checklist:
      sanityTask && sanity.length > 0
        ? {
            numProbed: Math.min(numSamples, sanityTask.below),
            numCorrect: sanity.length,
            checks: checklist({
              probe: (id) => probes.find((probe) => probe.id === id),
              curve,
              eps,
              sanity: {
                total: sanity.length,
                changed: counted(SANITY.changed),
                probabilities: counted(SANITY.probabilities),
                zeroGradient: counted(SANITY.zeroGradient),
              },
              surfaces: {
                total: surfaceIds.length,
                missed: surfaceIds.filter((i) => surfaceStands[i] === "0" && pgdStands[i] === "1").length,
              },
              square: square ? { samples: numSamples, fooled: square.fooled } : null,
              transfer:
                among("transfer") && among("probe:apgd")
                  ? { accuracy: among("transfer")?.accuracy ?? 0, own: among("probe:apgd")?.accuracy ?? 0 }
                  : null,
            }),
            probes,
          }
        : null,
    curve,
    surfaces: surfaceTask ? rowsOf(surfaceTask.id).map((loss, i) => ({ id: surfaceIds[i] as number, side: SURFACE_SIDE, loss })) : [],
    sensitivity:
      sensitivityTask && sensitivities.length > 0
        ? {
            norm,
            eps,
            steps: sensitivityTask.steps,
            total: sensitivities.length,
            logits: column(0),
            lipschitz: column(1),
            energy: column(2),
          }
        : null,
    certification: certificationOf(input, digits),
    computeMs: chunks.reduce((sum, chunk) => sum + Object.values(chunk.tasks).reduce((ms, task) => ms + task.ms, 0), 0),
  };
}

/** Radii, in standard deviations of the noise, at which certified accuracy is told. */
const RADII = [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5];

function certificationOf(
  { tasks, chunks, labels }: SummaryInput,
  digits: (id: string, which: "attacked") => string,
): Robustness["certification"] {
  const task = tasks.find((candidate) => candidate.kind === "certify");
  if (!task) return null;
  const rows = chunks.flatMap((chunk) => chunk.tasks[task.id]?.values ?? []);
  const samples = indicesOf(digits(task.id, "attacked")).map((id, i) => {
    const [answer, radius, prediction, hits] = rows[i] as [number, number, number, number];
    return { id, label: labels[id] as number, answer, radius, hits, prediction };
  });
  const total = samples.length;
  if (total === 0) throw new IsoergError("USAGE", "no sample was certified", { hint: "Take more --samples." });
  const { sigma, select, estimate, alpha, every } = task;
  return {
    norm: "l2",
    sigma,
    select,
    estimate,
    alpha,
    radiusCap: radiusCap(task),
    every,
    total,
    abstained: samples.filter(({ answer }) => answer < 0).length,
    curve: RADII.map((share) => {
      const radius = share * sigma;
      return { radius, accuracy: accuracyOf(samples.filter((one) => one.answer === one.label && one.radius >= radius).length, total) };
    }),
    predicted: predictionScore(samples),
    samples: samples.map(({ id, label, answer, radius, hits }) => ({ id, label, answer, radius, hits })),
  };
}

/** AutoAttack's attacks, all of them, in order and at full effort. */
function isStandard(cascade: readonly Extract<Task, { kind: "cascade" }>[], numClasses: number): boolean {
  const wanted = standardAttacks(numClasses);
  return (
    cascade.length >= wanted.length && // more attacks can only find more
    wanted.every((name, i) => cascade[i]?.attack === name) &&
    cascade.every(({ effort }) => (["steps", "queries", "targets"] as const).every((key) => effort[key] >= standardEffort[key]))
  );
}

function ones(digits: string): number {
  return [...digits].filter((digit) => digit === "1").length;
}

function indicesOf(digits: string): number[] {
  return [...digits].flatMap((digit, i) => (digit === "1" ? [i] : []));
}

function spreadOf(values: readonly number[]): { mean: number; median: number; max: number } {
  const ascending = sorted(values);
  const round = (value: number): number => Number(value.toPrecision(6));
  return {
    mean: round(values.reduce((sum, value) => sum + value, 0) / values.length),
    median: round(quantile(ascending, 0.5)),
    max: round(ascending[ascending.length - 1] as number),
  };
}
