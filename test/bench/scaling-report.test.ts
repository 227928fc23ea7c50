/** From timed runs to figures, from figures to predictions, and the page that shows them. */
import { HtmlValidate } from "html-validate";
import { describe, expect, it } from "vitest";
import { tasksFor } from "../../bench/scaling/measure.js";
import { renderPage } from "../../bench/scaling/page.js";
import { efficiencyOf, figuresOf, type ScalingPoint } from "../../bench/scaling/points.js";
import { type Assumptions, fitModel, modelFor, networkOf } from "../../bench/scaling/predict.js";
import { recoveryOf } from "../../bench/scaling/recovery.js";
import { renderScaling } from "../../bench/scaling/render.js";
import { analyse, withEfficiency } from "../../bench/scaling/result.js";
import { scaled, settingsFor, together } from "../../bench/scaling/trainings.js";
import { loadConfig } from "../../src/config/load.js";
import type { StepRecord } from "../../src/coordinator/events.js";
import { createPlan, numSteps } from "../../src/data/plan.js";
import { describeMachine } from "../../src/util/machine.js";
import { network, planted, plantedMeasurements } from "../kit/scaling-result.js";

const assumptions: Assumptions = {
  links: [10, 100],
  workers: [8, 64, 1024],
  workersPerHost: 8,
  workerGflops: null,
  reliability: { workerMtbfMs: 5e4 * 3.6e6, recovery: { kind: "elastic", recoveryMs: 10_000 }, repairMs: 600_000 },
  checkpointMs: 30_000,
  restartMs: 300_000,
  feed: "workers",
};
const origin = {
  ...{ isoerg: "0.0.0", commit: null, date: "2026-01-02T03:04:05Z", machine: describeMachine() },
  ...{ command: "isoerg bench scaling <quickstart>", threads: 1 },
};

describe("the runs of a measurement", () => {
  const { config } = loadConfig({ source: "quickstart", overrides: [] });

  it("are each made once, and cover both modes, the ideal, and a second slice", () => {
    const tasks = tasksFor(["weak", "strong"], [1, 2], (factor) => scaled(config, factor));
    const keys = tasks.map(({ what, count, size }) => `${what} ${count} x ${size.batchSize}`);
    expect([...keys].sort()).toEqual([
      "solo 1 x 32",
      "solo 1 x 64",
      "solo 2 x 32",
      "solo 2 x 64",
      "train 1 x 64",
      "train 2 x 128",
      "train 2 x 64",
    ]);
  });

  it("have as many steps as asked for, with more samples than there are or fewer", () => {
    for (const [batchSize, steps, numSamples] of [
      [64, 46, 50_000],
      [128, 46, 1000],
      [7, 3, 20],
    ] as const) {
      const settings = settingsFor({ batchSize, chains: 4, bufferSize: 8 }, steps, numSamples);
      const made = loadConfig({ source: "quickstart", overrides: settings }).config;
      const subset = Math.min(numSamples, made.data.subset ?? numSamples);
      expect(numSteps({ numSamples: subset, batchSize }, made.epochs)).toBe(steps);
      expect(createPlan({ numSamples: subset, batchSize, shuffleBlock: 16, seed: 1n }).batchOf(0).ids).toHaveLength(
        Math.min(batchSize, subset),
      );
    }
  });

  it("grow and shrink with their chains", () => {
    expect(scaled(config, 2)).toEqual({ batchSize: 128, chains: 64, bufferSize: 10_000 });
    expect(scaled(config, 1 / 64)).toMatchObject({ batchSize: 1, chains: 1 });
    expect(scaled({ ...config, sampler: { ...config.sampler, chains: 0 } }, 4).chains).toBe(0);
  });
});

describe("figures of timed runs", () => {
  const phases = (over: Record<string, number>) => ({
    wait: 0,
    data: 1,
    attack: 4,
    sample: 0,
    gradient: 4,
    reduce: 2,
    vote: 1,
    update: 1,
    ...over,
  });

  it("count only steps during which all processes were computing", () => {
    const run = (from: number, eachMs: number) => ({
      endsMs: Array.from({ length: 8 }, (_, i) => from + (i + 1) * eachMs),
      phasesMs: Array.from({ length: 8 }, () => phases({})),
    });
    const [fast, slow] = together([run(0, 10), run(0, 20)], 2);
    // The slow one's warm-up ends at 40, the fast one ends at 80.
    expect(fast?.stepMs).toEqual([10, 10, 10, 10]);
    expect(slow?.stepMs).toEqual([20, 20]);
  });

  it("take steps of two kinds together, and tell waiting from the sum itself", () => {
    const steps = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? 10 : 20));
    const ranks = steps.map((_, i) => [
      phases({ sample: i % 2 === 0 ? 0 : 10, reduce: 5 }),
      phases({ sample: i % 2 === 0 ? 0 : 10, attack: 7 }),
    ]);
    const { stepMs, breakdown, jitter, numSteps: count } = figuresOf([{ stepMs: steps, phasesMs: ranks }], 2);
    expect(stepMs).toMatchObject({ typical: 15, mean: 15, p99: 20 });
    expect(count).toBe(20);
    expect(breakdown).toMatchObject({ attack: 5.5, sampling: 5, exposedCommunication: 2, stragglers: 1.5, optimizer: 1 });
    // Kinds of steps apart: own times 10 and 13, or 20 and 23, of means 11.5 and 21.5.
    expect(jitter).toHaveLength(40);
    expect(jitter[0]).toBeCloseTo(10 / 11.5, 12);
    expect(jitter.at(-1)).toBeCloseTo(13 / 11.5, 12);
  });

  it("give efficiencies by their definitions", () => {
    const at = (typical: number) => ({ stepMs: { typical }, jitter: [0.9, 1.1] }) as unknown as ScalingPoint["run"];
    const point = (mode: "weak" | "strong", workers: number, run: number, solo: number, independent: number): ScalingPoint => ({
      ...{ mode, workers, batchSize: 64, samplesPerWorker: 64, run: at(run), solo: at(solo), independent: at(independent) },
    });
    const first = point("weak", 1, 105, 100, 100);
    const weak = efficiencyOf(point("weak", 2, 125, 100, 120), first);
    expect(weak.withStack).toBeCloseTo(105 / 125, 12);
    expect(weak.withoutStack).toBeCloseTo(100 / 125, 12);
    expect(weak.ideal).toBeCloseTo(100 / 120, 12);
    expect(weak.ofIdeal).toBeCloseTo(120 / 125, 12);
    // The slower of two takes 1.1 in three cases of four, and 0.9 in one.
    expect(weak.inStep).toBeCloseTo(1 / (0.75 * 1.1 + 0.25 * 0.9), 12);
    // Half the batch each: 52 ms where 50 would be perfect.
    const strong = efficiencyOf(point("strong", 2, 55, 50, 52), point("strong", 1, 105, 100, 100));
    expect(strong.withoutStack).toBeCloseTo(100 / (2 * 55), 12);
    expect(strong.ideal).toBeCloseTo(100 / (2 * 52), 12);
  });
});

describe("the loss of a worker", () => {
  const record = (step: number, generation: number, endMs: number, stepMs: number) =>
    ({ step, generation, worldSize: 3 - generation, time: new Date(endMs).toISOString(), stepMs }) as StepRecord;

  it("costs what lies between the kill, or the last commit, and the next step's beginning", () => {
    // Two workers: steps of 100 ms. Killed at 1350, during the fourth; alone from 1500 on, steps of 180 ms.
    const records = [
      record(0, 1, 1100, 100),
      record(1, 1, 1200, 100),
      record(2, 1, 1300, 100),
      record(3, 2, 1680, 180),
      record(4, 2, 1860, 180),
    ];
    expect(recoveryOf(records, 1350)).toEqual({ workers: 2, recoveryMs: 150, stallMs: 200, numSteps: 5, goodput: 500 / 860 });
  });

  it("can't be told where no step was done before or after it", () => {
    expect(() => recoveryOf([record(0, 1, 1100, 100)], 1150)).toThrow(/both before and after/);
  });
});

describe("the fitted model", () => {
  it("finds a planted machine, and predicts the points that it has not seen", () => {
    const { model, predictions } = fitModel(plantedMeasurements([1, 2, 4]), network);
    expect(model.compute.fixedMs).toBeCloseTo(planted.compute.fixedMs, 3);
    expect(model.compute.perSampleMs).toBeCloseTo(planted.compute.perSampleMs, 3);
    expect(model.host.perValueNs).toBeCloseTo(planted.host.perValueNs, 2);
    expect(model.vote.perSampleMs).toBeCloseTo(planted.vote.perSampleMs, 4);
    const held = predictions.filter(({ heldOut }) => heldOut);
    expect(held.map(({ point }) => `${point.mode} ${point.workers}`)).toEqual(["weak 4", "strong 4"]);
    for (const { error } of predictions) expect(Math.abs(error)).toBeLessThan(0.005);
  });

  it("takes nothing from the trainings that it is tested on", () => {
    const measured = plantedMeasurements([1, 2]);
    const spoilt = measured.points.map((point) =>
      point.workers === 2 ? { ...point, run: { ...point.run, stepMs: { ...point.run.stepMs, typical: 1e6 }, jitter: [0.1, 9] } } : point,
    );
    const [a, b] = [fitModel(measured, network), fitModel({ ...measured, points: spoilt }, network)];
    expect(b.model).toEqual(a.model);
    expect(b.predictions.map(({ predictedMs }) => predictedMs)).toEqual(a.predictions.map(({ predictedMs }) => predictedMs));
    expect(b.predictions.find(({ heldOut }) => heldOut)?.error).toBeCloseTo(-1, 2);
  });

  it("brings another network and faster workers in by arithmetic and size", () => {
    const fitted = fitModel(plantedMeasurements([1, 2]), network);
    const wide = networkOf("jdat");
    expect(wide.numParameters).toBeGreaterThan(30e6);
    const here = modelFor(fitted, network, wide, null);
    expect(here.compute.perSampleMs / planted.compute.perSampleMs).toBeCloseTo(wide.flopsPerSample / network.flopsPerSample, 4);
    const fast = modelFor(fitted, network, wide, 100 * fitted.workerGflops);
    expect(here.compute.perSampleMs / fast.compute.perSampleMs).toBeCloseTo(100, 6);
    expect(modelFor(fitted, network, network, null).compute).toEqual(fitted.model.compute);
  });
});

describe("the result", () => {
  const networks = [network, networkOf("jdat")];
  const result = analyse({ origin, network, measured: plantedMeasurements([1, 2]), assumptions, networks });

  it("extrapolates every network, link and size, and simulates one link beside it", () => {
    expect(result.extrapolations).toHaveLength(2 * 2 * 3);
    for (const { step, simulated, gigabitsPerSecond, efficiency, goodput, fromCheckpoints } of result.extrapolations) {
      expect(efficiency).toBeGreaterThan(0);
      expect(efficiency).toBeLessThanOrEqual(1);
      expect(simulated === null).toBe(gigabitsPerSecond !== 100);
      if (!simulated) continue;
      expect(Math.abs(simulated.stepMs / step.totalMs - 1)).toBeLessThan(0.02);
      expect(simulated.goodput).toBeLessThan(goodput + 0.002);
      expect(fromCheckpoints.goodput).toBeLessThan(goodput);
    }
    const wide = result.extrapolations.filter((e) => e.network === networks[1]?.name && e.workers === 1024);
    expect(wide[0]?.efficiency).toBeLessThan(wide[1]?.efficiency as number); // 10 Gb/s and 100
  });

  it("is told in the terminal, what is measured apart from what is not", () => {
    const text = renderScaling(result);
    expect(text.indexOf("MEASURED")).toBeLessThan(text.indexOf("MODEL"));
    expect(text.indexOf("MODEL")).toBeLessThan(text.indexOf("EXTRAPOLATED, not measured"));
    expect(text).toMatch(/weak, 2 x 64 samples .* held out/);
    const efficiency = withEfficiency(result.measured.points, "weak").at(-1)?.efficiency.ofIdeal as number;
    expect(text).toContain(`${(100 * efficiency).toFixed(1)} %`);
  });

  it("is a page of valid HTML", async () => {
    const validator = new HtmlValidate({
      extends: ["html-validate:recommended", "html-validate:a11y"],
      rules: { "long-title": "off", "no-trailing-whitespace": "off", "void-style": "off", "doctype-style": "off" },
    });
    const report = await validator.validateString(renderPage(result));
    expect(report.results.flatMap(({ messages }) => messages.map(({ ruleId, message, line }) => `${line}: ${ruleId}: ${message}`))).toEqual(
      [],
    );
  });

  it("is a page that stands alone, says of every table which it is, and survives a round trip through JSON", () => {
    const page = renderPage(JSON.parse(JSON.stringify(result)));
    expect(page).toBe(renderPage(result));
    expect(page).not.toMatch(/NaN|undefined|Infinity|\[object/);
    expect(page).not.toMatch(/<script|src=|href=/);
    expect(page).toContain("isoerg bench scaling &lt;quickstart&gt;");
    // After the heading that says "extrapolated" every table has its frame, before it none.
    const at = page.indexOf("Other clusters");
    expect(page.slice(0, at)).not.toContain('<div class="scroll extrapolated">');
    const after = page.slice(at, page.indexOf("What the extrapolation assumes"));
    expect(after.match(/<table/g)).toHaveLength(4);
    expect(after.match(/<div class="scroll extrapolated"><table/g)).toHaveLength(4);
    expect(page).toContain('<circle class="series plain"');
  });
});
