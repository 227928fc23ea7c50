/**
 * A run's folder with metrics and an evaluation as a joint training of ten minutes leaves them, drawn from a seeded generator:
 * enough of everything for a report to be looked at. The figures are of nothing; they only have the right shapes.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { draws, fillNormal } from "../../src/engine/random/philox.js";
import type { Evaluation, ModelEvaluation } from "../../src/evaluate/evaluation.js";
import { accuracyOf } from "../../src/evaluate/figures/accuracy.js";
import { energyGap } from "../../src/evaluate/figures/energy-gap.js";
import { gridPng } from "../../src/evaluate/grid.js";
import { SPREAD_PERCENTS, type SPREAD_VIEWS, spreadName } from "../../src/train/energy-spread.js";
import { smallConfig } from "./small-run.js";

export interface ReportRunOptions {
  readonly name: string;
  readonly kind: "joint" | "standard";
  readonly numSteps?: number;
}

function normals(n: number, position: number): number[] {
  const out = new Float32Array(n);
  fillNormal(out, { seed: 7n, purpose: 251, step: 0, position });
  return [...out];
}

function modelOf(
  weights: ModelEvaluation["weights"],
  shares: [clean: number, robust: number],
  shapes: Record<"clean" | "adversarial" | "generated", [number, number]>,
): ModelEvaluation {
  const sample = normals(1000, 1);
  const other = normals(1000, 2);
  const clean = sample.map((z) => shapes.clean[0] + shapes.clean[1] * z);
  const adversarial = sample.map((z, i) => shapes.adversarial[0] + shapes.adversarial[1] * (0.9 * z + 0.44 * (other[i] as number)));
  const generated = normals(500, 3).map((z) => shapes.generated[0] + shapes.generated[1] * z);
  const correct = Math.round(shares[1] * 1000);
  const attack = {
    norm: "linf",
    eps: 8 / 255,
    steps: 20,
    stepSize: 2 / 255,
    start: "uniform",
    restarts: 1,
    largestDistance: 0.031372577,
  } as const;
  return {
    weights,
    clean: accuracyOf(Math.round(shares[0] * 10_000), 10_000),
    attacks: [
      { ...attack, name: "PGD-20, cross-entropy", target: "cross-entropy", accuracy: accuracyOf(correct, 1000) },
      { ...attack, name: "PGD-20, margin", target: "margin", accuracy: accuracyOf(Math.max(0, correct - 21), 1000) },
    ],
    worstCase: accuracyOf(Math.max(0, correct - 26), 1000),
    energies: { clean, adversarial, generated, buffer: generated.map((e) => e + 0.1) },
    gaps: {
      adversarial: energyGap(clean, adversarial, { paired: true }),
      generated: energyGap(clean, generated, { paired: false }),
      buffer: energyGap(
        clean,
        generated.map((e) => e + 0.1),
        { paired: false },
      ),
    },
  };
}

export function evaluationOf({ name, kind, numSteps = 2400 }: ReportRunOptions): Evaluation {
  const joint = kind === "joint";
  return {
    format: "isoerg-evaluation",
    version: 1,
    run: name,
    step: numSteps,
    seed: 1,
    evaluatedAt: "2026-01-02T03:04:05.000Z",
    isoergVersion: "0.1.0",
    engine: { name: "torch", version: "libtorch 1.13.1", device: "cpu" },
    data: {
      name: "cifar10",
      digest: "5d8f0d6a3b9c1e72".repeat(4),
      numTest: 10_000,
      classes: ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    },
    settings: { samples: 1000, freshChains: 500, freshSteps: 200, precision: "fp32", chainPrecision: "bf16" },
    trained: joint
      ? modelOf("averaged", [0.603, 0.357], { clean: [-3.02, 0.21], adversarial: [-2.99, 0.2], generated: [-3.35, 0.24] })
      : modelOf("averaged", [0.811, 0], { clean: [-9.4, 4.6], adversarial: [-26.9, 6.1], generated: [-301, 42] }),
    untrained: modelOf("initial", [0.1, 0.06], { clean: [-2.31, 0.01], adversarial: [-2.3, 0.011], generated: [-2.42, 0.02] }),
  };
}

/** Writes the folder and returns it. */
export function writeReportRun(folder: string, options: ReportRunOptions): string {
  const { name, kind, numSteps = 2400 } = options;
  mkdirSync(join(folder, "samples"), { recursive: true });
  writeFileSync(join(folder, "config.yaml"), stringify({ ...smallConfig({ epochs: 6 }), name }));
  writeFileSync(join(folder, "evaluation.json"), JSON.stringify(evaluationOf(options)));
  writeFileSync(
    join(folder, "environment.json"),
    JSON.stringify({ node: "v20.0.0", cpu: { model: "2 cores", count: 2 }, engine: "torch (libtorch 1.13.1)" }),
  );
  const lines = Array.from({ length: numSteps }, (_, step) => JSON.stringify(recordOf(step, numSteps, kind)));
  writeFileSync(join(folder, "metrics.jsonl"), `${lines.join("\n")}\n`);
  const side = 32;
  const data = new Float32Array(100 * side * side * 3);
  for (let i = 0; i < 100; i++) {
    const draw = draws({ seed: 8n, purpose: 252, step: 0, position: i });
    const [a, b, hue] = [4 * draw.uniform(), 4 * draw.uniform(), draw.below(3)];
    for (let p = 0; p < side * side; p++) {
      const wave = 0.5 + 0.3 * Math.sin((a * (p % side)) / 6) + 0.2 * Math.cos((b * Math.floor(p / side)) / 6);
      for (let c = 0; c < 3; c++) data[(i * side * side + p) * 3 + c] = c === hue ? wave : 0.6 * wave + 0.1;
    }
  }
  const file = `step-${String(numSteps).padStart(6, "0")}.png`;
  writeFileSync(join(folder, "samples", file), gridPng({ shape: [side, side, 3], numImages: 100, data }, { columns: 10, scale: 2 }));
  return folder;
}

/** Of a normal distribution. */
function spreadOf(view: (typeof SPREAD_VIEWS)[number], mean: number, std: number): Record<string, number> {
  const deviations = { 5: -1.645, 25: -0.674, 50: 0, 75: 0.674, 95: 1.645 };
  return Object.fromEntries(SPREAD_PERCENTS.map((percent) => [spreadName(view, percent), mean + std * deviations[percent]]));
}

function recordOf(step: number, numSteps: number, kind: ReportRunOptions["kind"]): object {
  const t = step / numSteps;
  const [n1, n2, n3, n4] = normals(4, 1000 + step) as [number, number, number, number];
  const learned = 1 - Math.exp(-5 * t);
  const joint = kind === "joint";
  const clean = joint ? -2.3 - 0.75 * learned + 0.03 * n1 : -2.3 - 7 * learned + 0.3 * n1;
  const generative = joint && step % 2 === 0;
  return {
    step,
    epoch: (step + 1) / 391,
    generation: 1,
    worldSize: 2,
    batchSize: 128,
    time: new Date(Date.UTC(2026, 0, 2, 3, 0, 0) + step * 95).toISOString(),
    stepMs: 95 + 3 * n2,
    samplesPerSecond: 1400 + 40 * n3 - (step % 500 === 0 ? 500 : 0),
    metrics: {
      loss: 3.4 - 1.5 * learned + 0.1 * n1,
      "energy/clean": clean,
      "accuracy/clean": Math.min(0.99, Math.max(0, 0.1 + (joint ? 0.5 : 0.75) * learned + 0.04 * n2)),
      "gradient-norm": 2 + Math.abs(n4) + 3 * Math.exp(-20 * t),
      "learning-rate": 0.004 * (t < 0.3 ? 1 : (1 - t) / 0.7),
      ...(joint && {
        "energy/adversarial": clean + 0.03 + 0.01 * n3,
        "accuracy/adversarial": Math.max(0, 0.1 + 0.27 * learned + 0.04 * n3),
        "gap/adversarial-absolute": 0.04 + 0.3 * Math.exp(-12 * t) + 0.005 * Math.abs(n3),
      }),
      ...(generative && { "energy/generated": clean - 0.2 - 0.6 * Math.exp(-8 * t) + 0.05 * n4 }),
      ...(step % 24 === 0 && spreadOf("clean", clean, joint ? 0.2 : 4)),
      ...(step % 24 === 0 &&
        joint && { ...spreadOf("adversarial", clean + 0.03, 0.2), ...spreadOf("generated", clean - 0.2 - 0.6 * Math.exp(-8 * t), 0.25) }),
    },
    phasesMs: [{ wait: 0.2, data: 2, attack: joint ? 30 : 0, sample: generative ? 40 : 0, gradient: 42, reduce: 4, vote: 1 }],
  };
}
