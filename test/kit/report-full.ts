/**
 * A run's folder with everything that a report can show: what writeReportRun leaves, and AutoAttack with its checklist and certificates,
 * an analysis, decisions, an alarm. Figures are computed by the program's own functions from seeded logits of no model.
 */
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { draws, fillNormal } from "../../src/engine/random/philox.js";
import { type Analysis, analysisSchema, type SetKind } from "../../src/evaluate/analysis/analysis.js";
import { describeSets } from "../../src/evaluate/analysis/sets.js";
import { verdictOf } from "../../src/evaluate/analysis/verdict.js";
import { calibration } from "../../src/evaluate/calibration/calibration.js";
import { decisionsOf } from "../../src/evaluate/decision/decisions.js";
import { type Evaluation, evaluationSchema } from "../../src/evaluate/evaluation.js";
import { accuracyOf } from "../../src/evaluate/figures/accuracy.js";
import { detection } from "../../src/evaluate/ood/detection.js";
import type { Robustness } from "../../src/evaluate/robustness/robustness.js";
import { evaluationOf, type ReportRunOptions, writeReportRun } from "./report-run.js";

const K = 10;

/** Logits of n samples with labels i % K: the label's is raised, so that about `share` are right; two classes are alike. */
function logitsFor(n: number, position: number, lift: number, scale = 1): { logits: Float32Array; labels: Int32Array } {
  const logits = new Float32Array(n * K);
  fillNormal(logits, { seed: 9n, purpose: 250, step: 0, position });
  const labels = Int32Array.from({ length: n }, (_, i) => i % K);
  for (let i = 0; i < n; i++) {
    const label = i % K;
    logits[i * K + label] = (logits[i * K + label] as number) + lift;
    if (label === 3 || label === 5) logits[i * K + (8 - label)] = (logits[i * K + 8 - label] as number) + 0.8 * lift;
    for (let k = 0; k < K; k++) logits[i * K + k] = scale * (logits[i * K + k] as number) + 1;
  }
  return { logits, labels };
}

function rightOf(logits: Float32Array, labels: Int32Array): number {
  let right = 0;
  for (const [i, label] of labels.entries()) {
    const row = logits.subarray(i * K, (i + 1) * K);
    if (row.indexOf(Math.max(...row)) === label) right++;
  }
  return right;
}

function robustness(): Robustness {
  const samples = 1000;
  const chances = draws({ seed: 9n, purpose: 249, step: 0, position: 0 });
  const levels = Array.from({ length: samples }, () => chances.uniform());
  const below = (share: number): number => levels.filter((u) => u < share).length;
  const digits = (share: number): string => levels.map((u) => (u < share ? "1" : "0")).join("");
  const shares = [0.6, 0.342, 0.301, 0.301, 0.3];
  const titles = ["APGD-CE, 100 steps", "APGD-T, DLR, 9 targets x 100", "FAB-T, 9 targets x 100", "Square, 5000 queries"];
  const probed = 120;
  const probe = (id: string, title: string, eps: number, share: number) => ({
    id,
    title,
    norm: "linf" as const,
    eps,
    iterations: 20,
    accuracy: accuracyOf(Math.round(share * probed), probed),
  });
  const curve = [0.25, 0.5, 1, 2, 4, 8, 16, 31.875].map((times, i) =>
    probe(`curve:${times}`, "APGD-CE, 20 steps", (times * 8) / 255, [0.91, 0.78, 0.52, 0.17, 0.01, 0, 0, 0][i] as number),
  );
  const radii = [0, 0.0625, 0.125, 0.1875, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875];
  return {
    version: 1,
    fingerprint: "0123456789abcdef",
    evaluatedAt: "2026-01-02T04:04:05.000Z",
    norm: "linf",
    eps: 8 / 255,
    samples,
    standard: true,
    precision: "fp32",
    clean: accuracyOf(below(0.6), samples),
    attacks: titles.map((title, i) => ({
      name: ["apgd-ce", "apgd-t", "fab-t", "square"][i] as string,
      title,
      kind: i === 3 ? ("query" as const) : ("gradient" as const),
      iterations: [100, 900, 900, 5000][i] as number,
      attacked: below(shares[i] as number),
      fooled: below(shares[i] as number) - below(shares[i + 1] as number),
      accuracy: accuracyOf(below(shares[i + 1] as number), samples),
    })),
    robust: accuracyOf(below(0.3), samples),
    perSample: { clean: digits(0.6), robust: digits(0.3) },
    checklist: {
      numProbed: 200,
      numCorrect: probed,
      checks: [
        { id: "deterministic", title: "two passes give the same outputs", verdict: "pass", figures: "0 of 120 differ" },
        { id: "iterations", title: "five times the iterations change little", verdict: "suspicious", figures: "52.1 %, then 44.0 %" },
        { id: "transfer", title: "attacks made on another model are weaker", verdict: "not applicable", figures: "no other model" },
      ],
      probes: [probe("pgd", "PGD, 20 steps", 8 / 255, 0.521), probe("pgd-longer", "PGD, 100 steps", 8 / 255, 0.44)],
    },
    curve,
    surfaces: [3, 8].map((id) => ({
      id,
      side: 11,
      loss: Array.from({ length: 121 }, (_, i) => 0.6 + 0.08 * Math.floor(i / 11) + 0.01 * (i % 11) * (id - 5)),
    })),
    sensitivity: {
      norm: "linf",
      eps: 8 / 255,
      steps: 20,
      total: probed,
      logits: { mean: 0.81, median: 0.77, max: 2.1 },
      lipschitz: { mean: 25.8, median: 24.5, max: 66.9 },
      energy: { mean: 0.11, median: 0.1, max: 0.35 },
    },
    certification: {
      norm: "l2",
      sigma: 0.25,
      select: 100,
      estimate: 10_000,
      alpha: 0.001,
      radiusCap: 0.8,
      every: 100,
      total: 100,
      abstained: 7,
      curve: radii.map((radius) => ({ radius, accuracy: accuracyOf(Math.max(0, Math.round(55 - 68 * radius)), 100) })),
      predicted: accuracyOf(54, 100),
      samples: [],
    },
    computeMs: 3.6e6,
  };
}

export function fullEvaluationOf(options: ReportRunOptions): Evaluation {
  const evaluation = evaluationOf(options);
  const lift = options.kind === "joint" ? 2 : 3;
  const clean = logitsFor(evaluation.trained.clean.total, 1, lift);
  const decided = { ...evaluation.trained };
  return evaluationSchema.parse({
    ...evaluation,
    trained: {
      ...decided,
      clean: accuracyOf(rightOf(clean.logits, clean.labels), clean.labels.length),
      decisions: decisionsOf(clean.logits, clean.labels, K),
      attacks: decided.attacks.map((attack, i) => {
        const under = logitsFor(1000, 2 + i, options.kind === "joint" ? 1 : -2);
        return {
          ...attack,
          accuracy: accuracyOf(rightOf(under.logits, under.labels), 1000),
          decisions: decisionsOf(under.logits, under.labels, K),
        };
      }),
      worstCase: null,
    },
    robustness: robustness(),
  });
}

export function analysisOf({ name, numSteps = 2400 }: Pick<ReportRunOptions, "name" | "numSteps">): Analysis {
  const { data, engine } = evaluationOf({ name, kind: "joint" });
  const n = 500;
  const set = (label: string, kind: SetKind, position: number, lift: number, scale = 1, known = true) => {
    const { logits, labels } = logitsFor(n, position, lift, scale);
    return { name: label, kind, description: `${n} of ${label}`, logits, labels: known ? labels : null, paired: kind === "adversarial" };
  };
  const inputs = [
    set("test", "clean", 11, 2),
    set("train", "train", 12, 2.3),
    set("PGD-20, cross-entropy", "adversarial", 11, 1),
    set("generated", "generated", 13, 2.5, 1.2, false),
    set("uniform noise", "noise", 14, 0, 0.6, false),
    set("interpolations", "interpolation", 15, 1, 0.9, false),
    set("digits", "other-data", 16, 2.1, 1, false),
  ];
  const sets = describeSets(inputs, data.classes);
  const negated = (i: number): number[] => (sets[i]?.marginal.energies ?? []).map((energy) => -energy);
  const clean = logitsFor(n, 11, 2);
  const half = { logits: clean.logits.subarray(0, (n / 2) * K), labels: clean.labels.subarray(0, n / 2) };
  const subject: Omit<Analysis, "verdict"> = {
    format: "isoerg-analysis",
    version: 1,
    model: {
      kind: "run",
      name,
      step: numSteps,
      weights: "averaged",
      logits: "output",
      numParameters: 279_050,
      fingerprint: "9ab0".repeat(16),
    },
    data: { ...data, shape: { height: 32, width: 32, channels: 3 }, numTrain: 50_000 },
    engine,
    analyzedAt: "2026-01-02T05:04:05.000Z",
    isoergVersion: "0.1.0",
    seed: 1,
    settings: { samples: n, input: {} },
    sets,
    attacks: [
      {
        set: "PGD-20, cross-entropy",
        norm: "linf",
        eps: 8 / 255,
        steps: 20,
        stepSize: 2 / 255,
        start: "uniform",
        target: "cross-entropy",
        restarts: 1,
        largestDistance: 0.0313726,
      },
    ],
    detection: sets.slice(2).map((other, i) => {
      const found = detection(negated(0), negated(i + 2));
      return { set: other.name, energy: found, maxProbability: found, inputGradient: i === 1 ? null : found };
    }),
    calibration: {
      numFit: n / 2,
      temperature: 0.8,
      before: calibration(half.logits, half.labels, K),
      after: calibration(half.logits, half.labels, K, { temperature: 0.8 }),
    },
    quality: {
      images: "fresh chains",
      numGenerated: 500,
      chainSteps: 200,
      numReference: 1000,
      reference: "1000 test images",
      extractor: { name: "standard", inception: false, self: false, numFeatures: 128, fingerprint: "cafe".repeat(16) },
      frechet: { name: "Fréchet distance (standard)", value: 31.4, floor: 4.2, numFloor: 500 },
      score: { name: "classifier score (standard)", mean: 3.21, std: 0.12, numSplits: 10, numSamples: 500, ofReference: 7.9 },
      precisionRecall: { precision: 0.61, recall: 0.22, neighbours: 3, numReal: 1000, numGenerated: 500 },
      nearest: [
        {
          space: "pixels",
          numTrain: 50_000,
          numGenerated: 500,
          numTest: 500,
          generatedMedian: 0.14,
          testMedian: 0.13,
          generatedSmallest: 0.05,
          testSmallest: 0.02,
          nearerThanTest: 0.004,
        },
      ],
    },
  };
  return analysisSchema.parse({ ...subject, verdict: verdictOf(subject) });
}

/** Writes the folder and returns it. */
export function writeFullRun(folder: string, options: ReportRunOptions): string {
  writeReportRun(folder, options);
  writeFileSync(join(folder, "evaluation.json"), JSON.stringify(fullEvaluationOf(options)));
  writeFileSync(join(folder, "analysis.json"), JSON.stringify(analysisOf(options)));
  const alarm = {
    time: "2026-01-02T03:00:40.000Z",
    event: "alarm",
    step: 120,
    rule: "energy-growth",
    reason: "step 120: the root mean square of E(generated) is 812, above 700, bad since step 110; alarm 1 of 3",
    restoredStep: 100,
    adjustment: { salt: 1, lrFactor: 0.5, samplerStepsFactor: 1, attackStepsFactor: 1, energyL2: 0 },
  };
  appendFileSync(join(folder, "journal.jsonl"), `${JSON.stringify(alarm)}\n`);
  return folder;
}
