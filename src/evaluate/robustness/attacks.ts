/**
 * The registry of attacks on a trained model. Each is one function from a slice of correctly classified samples to which of them
 * it fooled; to add one is to add one entry here and its name to `attackNames`.
 *
 * What is random is keyed by (attack, restart or target or query, sample's index in the data set), so a sample's result depends
 * neither on the batch nor on the process that it was computed in.
 */
import * as tf from "@tensorflow/tfjs-core";
import { apgd, type Norm } from "../../attack/apgd.js";
import { energyAdaptiveLoss } from "../../attack/energy-adaptive.js";
import { batchOf, fab } from "../../attack/fab.js";
import { answerOf, crossEntropyLoss, type LogitLoss, ranked, targetedDlrLoss } from "../../attack/logit-loss.js";
import { pgd } from "../../attack/pgd.js";
import { randomNoise } from "../../attack/random-noise.js";
import { square } from "../../attack/square.js";
import type { AttackConfig } from "../../config/schema.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import { logSumExp } from "../../model/energy.js";
import type { Classifier } from "../../model/model.js";

export const attackNames = [
  "apgd-ce",
  "apgd-dlr",
  "apgd-t",
  "fab-t",
  "square",
  "fgsm",
  "pgd",
  "cw",
  "energy-evading",
  "energy-leaving",
  "noise",
] as const;
export type AttackName = (typeof attackNames)[number];

/** How hard the attacks try. The defaults are AutoAttack's standard ones. */
export interface Effort {
  /** Of Auto-PGD and FAB. */
  readonly steps: number;
  /** Of Square. */
  readonly queries: number;
  /** Classes that targeted attacks go for, most likely first. */
  readonly targets: number;
  readonly pgdSteps: number;
  readonly pgdRestarts: number;
  readonly noiseDraws: number;
  /** Of the energy-adaptive attacks. */
  readonly lambda: number;
}

export const standardEffort: Effort = {
  steps: 100,
  queries: 5000,
  targets: 9,
  pgdSteps: 50,
  pgdRestarts: 5,
  noiseDraws: 100,
  lambda: 1,
};

/** A slice under attack, in host memory. */
export interface Slice {
  readonly model: Classifier;
  readonly shape: readonly [number, number, number];
  readonly numClasses: number;
  /** [n,H,W,C] in [0,1] */
  readonly x: Float32Array;
  readonly labels: Int32Array;
  /** Of each sample in the data set. */
  readonly ids: Int32Array;
  readonly seed: bigint;
  /** Another model of the same data, on which attacks are made to be tried here. */
  readonly source?: Classifier;
}

export interface Budget {
  readonly norm: Norm;
  /** In pixels. */
  readonly eps: number;
}

interface Attack {
  /** For people. */
  readonly title: (effort: Effort) => string;
  /** Whether it uses gradients, and of what. */
  readonly kind: "gradient" | "query" | "chance";
  /** Passes for one sample that withstands: a forward pass counts 1, an input gradient 3. */
  readonly cost: (effort: Effort, numClasses: number) => number;
  /** Iterations for one sample that withstands: steps x restarts or targets; queries; draws. */
  readonly iterations: (effort: Effort, numClasses: number) => number;
  /** 1 where a sample was fooled. */
  readonly run: (slice: Slice, budget: Budget, effort: Effort) => Uint8Array;
}

const numTargets = ({ targets }: Effort, numClasses: number): number => Math.min(targets, numClasses - 1);

export const attacks: Readonly<Record<AttackName, Attack>> = {
  "apgd-ce": autoPgd("APGD-CE", (slice) => crossEntropyLoss(slice.labels)),
  "apgd-dlr": autoPgd("APGD-DLR", () => "dlr"),
  "apgd-t": {
    title: ({ steps, targets }) => `APGD-T, DLR, ${targets} targets x ${steps}`,
    kind: "gradient",
    cost: (effort, numClasses) => 3 * (effort.steps + 1) * numTargets(effort, numClasses),
    iterations: (effort, numClasses) => effort.steps * numTargets(effort, numClasses),
    run: (slice, budget, effort) =>
      eachTarget(slice, effort, (rest, targets, rank) => runApgd(rest, budget, effort.steps, targetedDlrLoss(rest.labels, targets), rank)),
  },
  "fab-t": {
    title: ({ steps, targets }) => `FAB-T, ${targets} targets x ${steps}`,
    kind: "gradient",
    cost: (effort, numClasses) => 4 * effort.steps * numTargets(effort, numClasses),
    iterations: (effort, numClasses) => effort.steps * numTargets(effort, numClasses),
    run: (slice, budget, effort) =>
      eachTarget(slice, effort, (rest, targets) => {
        const { distance } = fab({ ...rest, targets, steps: effort.steps, ...budget });
        return Uint8Array.from(distance, (reached) => (reached <= budget.eps ? 1 : 0));
      }),
  },
  square: {
    title: ({ queries }) => `Square, ${queries} queries`,
    kind: "query",
    cost: ({ queries }) => queries + 1,
    iterations: ({ queries }) => queries,
    run: (slice, budget, { queries }) => square({ ...slice, ...budget, queries, key: keyOf(slice, "square") }).fooled,
  },
  fgsm: {
    title: () => "FGSM",
    kind: "gradient",
    cost: () => 4,
    iterations: () => 1,
    run: (slice, budget) =>
      runPgd(slice, budget, { steps: 1, stepSize: budget.eps, start: "zero", target: "cross-entropy", restarts: 1 }, "fgsm"),
  },
  pgd: {
    title: ({ pgdSteps, pgdRestarts }) => `PGD-${pgdSteps}, ${pgdRestarts} restarts`,
    kind: "gradient",
    cost: ({ pgdSteps, pgdRestarts }) => (3 * pgdSteps + 2) * pgdRestarts,
    iterations: ({ pgdSteps, pgdRestarts }) => pgdSteps * pgdRestarts,
    run: (slice, budget, effort) => runPgd(slice, budget, pgdOf(budget, effort.pgdSteps, effort.pgdRestarts, "cross-entropy"), "pgd"),
  },
  cw: {
    title: ({ pgdSteps, pgdRestarts }) => `CW margin, PGD-${pgdSteps}, ${pgdRestarts} restarts`,
    kind: "gradient",
    cost: ({ pgdSteps, pgdRestarts }) => (3 * pgdSteps + 2) * pgdRestarts,
    iterations: ({ pgdSteps, pgdRestarts }) => pgdSteps * pgdRestarts,
    run: (slice, budget, effort) => runPgd(slice, budget, pgdOf(budget, effort.pgdSteps, effort.pgdRestarts, "margin"), "cw"),
  },
  "energy-evading": autoPgd("APGD, CE - lambda (E(x*) - E(x))^2", (slice, { lambda }) => energyLoss(slice, -lambda)),
  "energy-leaving": autoPgd("APGD, CE + lambda (E(x*) - E(x))^2", (slice, { lambda }) => energyLoss(slice, lambda)),
  noise: {
    title: ({ noiseDraws }) => `random noise, ${noiseDraws} draws`,
    kind: "chance",
    cost: ({ noiseDraws }) => noiseDraws,
    iterations: ({ noiseDraws }) => noiseDraws,
    run: (slice, budget, { noiseDraws }) =>
      withBatch(slice, (x) => randomNoise({ ...slice, ...budget, x, draws: noiseDraws, key: keyOf(slice, "noise") })),
  },
};

/** AutoAttack's attacks, in order. The DLR losses need 3 and 4 classes; where there are fewer, what is left of them stands in. */
export function standardAttacks(numClasses: number): AttackName[] {
  if (numClasses >= 4) return ["apgd-ce", "apgd-t", "fab-t", "square"];
  return numClasses === 3 ? ["apgd-ce", "apgd-dlr", "fab-t", "square"] : ["apgd-ce", "fab-t", "square"];
}

/** Auto-PGD on a loss from one random start. */
function autoPgd(title: string, loss: (slice: Slice, effort: Effort) => LogitLoss | "dlr"): Attack {
  return {
    title: ({ steps }) => `${title}, ${steps} steps`,
    kind: "gradient",
    cost: ({ steps }) => 3 * (steps + 1),
    iterations: ({ steps }) => steps,
    run: (slice, budget, effort) => runApgd(slice, budget, effort.steps, loss(slice, effort), 0),
  };
}

/** @param restart keys the start, apart for each target. */
export function runApgd(slice: Slice, budget: Budget, steps: number, loss: LogitLoss | "dlr", restart: number): Uint8Array {
  return withBatch(slice, (x) => {
    const key = { ...keyOf(slice, restart > 0 ? "apgd-t" : "apgd-ce"), inner: restart };
    const { adversarial, fooled } = apgd({ ...slice, ...budget, x, steps, loss, key, until: "fooled" });
    adversarial.dispose();
    return fooled;
  });
}

type PgdChoice = Pick<AttackConfig, "steps" | "stepSize" | "start" | "target" | "restarts">;

export function runPgd(slice: Slice, budget: Budget, choice: PgdChoice, stream: AttackName): Uint8Array {
  return withBatch(slice, (x) => {
    const adversarial = pgd({ ...slice, x, config: { ...budget, ...choice } as AttackConfig, key: keyOf(slice, stream) });
    const logits = slice.model.logits(adversarial);
    const answers = answersOf(logits.dataSync<"float32">() as Float32Array, slice.numClasses);
    tf.dispose([adversarial, logits]);
    return Uint8Array.from(slice.labels, (label, i) => (answers[i] === label ? 0 : 1));
  });
}

/** The step that reaches the ball's edge two and a half times over (Madry et al. 2018), but a tenth of the ball at least. */
export function pgdOf({ eps }: Budget, steps: number, restarts: number, target: "cross-entropy" | "margin"): PgdChoice {
  return { steps, stepSize: Math.max((2.5 * eps) / steps, eps / 10), start: "uniform", target, restarts };
}

export function answersOf(logits: Float32Array, numClasses: number): Int32Array {
  return Int32Array.from({ length: logits.length / numClasses }, (_, i) => answerOf(logits.subarray(i * numClasses, (i + 1) * numClasses)));
}

/** The samples of a slice at these rows. */
export function selectRows(slice: Slice, rows: readonly number[]): Slice {
  const size = slice.shape[0] * slice.shape[1] * slice.shape[2];
  const x = new Float32Array(rows.length * size);
  rows.forEach((row, i) => {
    x.set(slice.x.subarray(row * size, (row + 1) * size), i * size);
  });
  return {
    ...slice,
    x,
    labels: Int32Array.from(rows, (row) => slice.labels[row] as number),
    ids: Int32Array.from(rows, (row) => slice.ids[row] as number),
  };
}

export function logitsOfSlice(slice: Slice): Float32Array {
  return withBatch(slice, (x) => {
    const logits = slice.model.logits(x);
    const values = Float32Array.from(logits.dataSync<"float32">() as Float32Array);
    logits.dispose();
    return values;
  });
}

/** Runs an attack towards the second, third, ... class of the clean logits, each on what the ones before left standing. */
function eachTarget(slice: Slice, effort: Effort, run: (rest: Slice, targets: Int32Array, rank: number) => Uint8Array): Uint8Array {
  const { numClasses } = slice;
  const logits = logitsOfSlice(slice);
  const order = Array.from(slice.labels, (_, i) => ranked(logits.subarray(i * numClasses, (i + 1) * numClasses)));
  const fooled = new Uint8Array(slice.labels.length);
  for (let rank = 1; rank <= numTargets(effort, numClasses); rank++) {
    const rows = [...fooled.keys()].filter((row) => !fooled[row]);
    if (rows.length === 0) break;
    const rest = selectRows(slice, rows);
    const targets = Int32Array.from(rows, (row) => (order[row] as number[])[rank] as number);
    run(rest, targets, rank).forEach((won, i) => {
      if (won) fooled[rows[i] as number] = 1;
    });
  }
  return fooled;
}

function energyLoss(slice: Slice, lambda: number): LogitLoss {
  const logits = logitsOfSlice(slice);
  const clean = Float64Array.from(slice.labels, (_, i) => -logSumExp(logits, i * slice.numClasses, slice.numClasses));
  return energyAdaptiveLoss(slice.labels, clean, lambda);
}

function withBatch<T>(slice: Slice, work: (x: tf.Tensor4D) => T): T {
  const x = batchOf(slice.x, [...slice.labels.keys()], slice.shape);
  try {
    return work(x);
  } finally {
    x.dispose();
  }
}

/** The attacks' streams apart: `step` 0 of this purpose is that of the quick PGD of every evaluation. */
function keyOf({ seed, ids }: Slice, stream: AttackName) {
  return { seed, purpose: PURPOSE.evaluateAttack, step: 1 + attackNames.indexOf(stream), positions: ids };
}
