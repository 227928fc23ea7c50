/** From timed runs to figures, from figures to predictions, and the page that shows them. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HtmlValidate } from "html-validate";
import { describe, expect, it, vi } from "vitest";
import { type Group, inTurn } from "../../bench/scaling/in-turn.js";
import { tasksFor } from "../../bench/scaling/measure.js";
import { renderPage } from "../../bench/scaling/page.js";
import { efficiencyOf, figuresOf, ratioOf, type ScalingPoint } from "../../bench/scaling/points.js";
import { type Assumptions, fitModel, modelFor, networkOf } from "../../bench/scaling/predict.js";
import { recoveryOf } from "../../bench/scaling/recovery.js";
import { renderScaling } from "../../bench/scaling/render.js";
import { analyse, withEfficiency } from "../../bench/scaling/result.js";
import { scaled, settingsFor, type TimedRun, timed, together } from "../../bench/scaling/trainings.js";
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
    const keys = tasks.map((task) =>
      task.kind === "alone" ? `alone ${task.size.batchSize}` : `${task.workers} x ${task.slice.batchSize} of ${task.size.batchSize}`,
    );
    expect(keys).toEqual(["alone 32", "1 x 64 of 64", "2 x 64 of 128", "2 x 32 of 64"]);
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
    const run = (eachMs: number) => ({ endsMs: Array.from({ length: 8 }, (_, i) => (i + 1) * eachMs) });
    // The slow one's warm-up ends at 40, the fast one ends at 80.
    expect(together([run(10), run(20)], 2)).toEqual([
      { from: 4, to: 8 },
      { from: 2, to: 4 },
    ]);
  });

  it("leave out the time in which a run was stopped, and the phases of steps that it fell into", () => {
    // Steps of 10 ms, one after the other; stopped for a second at 35.
    const wall = (at: number): number => (at > 35 ? at + 1000 : at);
    const steps = Array.from({ length: 8 }, (_, i) => ({ from: wall(10 * i), to: wall(10 * (i + 1)) }));
    const phasesMs = steps.map((_, i) => [{ attack: i }]);
    const spans = [
      { from: 0, to: 35 },
      { from: 1035, to: 1080 },
    ];
    const run = timed({ steps, phasesMs }, { from: 2, period: 2, spans });
    expect(run.stepMs).toEqual([10, 10, 10, 10, 10, 10]);
    expect(run.turns).toEqual([0, 1, 1, 1, 1, 1]);
    // The stop fell into step 3; what step 4 begins with is done in the step before it.
    expect(run.phasesMs.map(([of]) => of?.attack)).toEqual([6, 7]);
  });

  it("are compared turn by turn, where the machine drifts", () => {
    // Each turn the machine is slower; the run takes 1.25 times what the others take at any time.
    const turnsOf = (ms: (turn: number) => number): TimedRun => ({
      ...{ stepMs: [], phasesMs: [], turns: [] },
      ...{ stepMs: [0, 1, 2, 3, 4].flatMap((turn) => [ms(turn), 3 * ms(turn)]), turns: [0, 0, 1, 1, 2, 2, 3, 3, 4, 4] },
    });
    const run = turnsOf((turn) => 1.25 * (100 + 2 * turn)); // at moments 0, 2, 4, ...
    const others = turnsOf((turn) => 100 + 2 * turn + 1); // at moments 1, 3, 5, ...
    const ratio = ratioOf([{ run, others: [others, others] }], 2);
    expect(ratio.mean).toBeCloseTo(0.8, 12);
    expect(ratio.standardError).toBeCloseTo(0, 12);
    expect(ratio.turns).toBe(4);
    const single = { stepMs: [10, 20], phasesMs: [], turns: [0, 0] };
    expect(ratioOf([{ run: single, others: [{ ...single, stepMs: [9, 18] }] }], 2)).toEqual({ mean: 0.9, standardError: null, turns: 0 });
  });

  it("take steps of two kinds together, and tell waiting from the sum itself", () => {
    const steps = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? 10 : 20));
    const ranks = steps.map((_, i) => [
      phases({ sample: i % 2 === 0 ? 0 : 10, reduce: 5 }),
      phases({ sample: i % 2 === 0 ? 0 : 10, attack: 7 }),
    ]);
    const { stepMs, breakdown, jitter, numSteps: count } = figuresOf([{ stepMs: steps, phasesMs: ranks, turns: steps.map(() => 0) }], 2);
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
      inTurn: { mean: 0.97, standardError: 0.01, turns: 20 },
    });
    const first = point("weak", 1, 105, 100, 100);
    const weak = efficiencyOf(point("weak", 2, 125, 100, 120), first);
    expect(weak.withStack).toBeCloseTo(105 / 125, 12);
    expect(weak.withoutStack).toBeCloseTo(100 / 125, 12);
    expect(weak.ideal).toBeCloseTo(100 / 120, 12);
    expect(weak.ofIdeal).toBe(0.97); // as measured in turn
    // The slower of two takes 1.1 in three cases of four, and 0.9 in one.
    expect(weak.inStep).toBeCloseTo(1 / (0.75 * 1.1 + 0.25 * 0.9), 12);
    // Half the batch each: 52 ms where 50 would be perfect.
    const strong = efficiencyOf(point("strong", 2, 55, 50, 52), point("strong", 1, 105, 100, 100));
    expect(strong.withoutStack).toBeCloseTo(100 / (2 * 55), 12);
    expect(strong.ideal).toBeCloseTo(100 / (2 * 52), 12);
  });
});

describe("two groups of processes in turn", () => {
  it("compute apart, and both to their end", async () => {
    const folder = mkdtempSync(join(tmpdir(), "isoerg-in-turn-"));
    const count = (name: string): Group => {
      // Says the time as often as it can, for 150 ms of its own processor time.
      const script =
        "const o=[];for(;;){o.push(Date.now());if(process.cpuUsage().user>+process.argv[2]*1e3)break}require('fs').writeFileSync(process.argv[1],JSON.stringify(o))";
      const child = spawn(process.execPath, ["-e", script, join(folder, name), "150"], { stdio: "ignore", detached: true });
      return { pids: [-(child.pid as number)], ended: once(child, "exit") };
    };
    try {
      const spans = await inTurn([count("a"), count("b")], 20);
      const times = ["a", "b"].map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as number[]);
      for (const [i, own] of times.entries()) {
        expect(spans[i]?.length).toBeGreaterThan(2);
        const outside = own.filter((at) => !spans[i]?.some(({ from, to }) => from - 5 <= at && at <= to + 5));
        expect(outside.slice(1)).toEqual([]);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("don't outlive whoever stopped them", async () => {
    const script = `
      import { spawn } from "node:child_process";
      import { once } from "node:events";
      import { inTurn } from ${JSON.stringify(new URL("../../dist/bench/scaling/in-turn.js", import.meta.url).href)};
      const groups = [0, 1].map(() => {
        const child = spawn("sleep", ["600"], { stdio: "ignore", detached: true });
        return { pids: [-child.pid], ended: once(child, "exit") };
      });
      void inTurn(groups, 20);
      console.log(groups.map(({ pids }) => -pids[0]).join(" "));`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    const [said] = (await once(child.stdout, "data")) as [Buffer];
    const pids = String(said).trim().split(" ").map(Number);
    child.kill("SIGKILL");
    const isThere = (pid: number): boolean => {
      try {
        // A process that has ended and that nobody has asked for yet is still listed, as Z.
        return !/^\S+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
      } catch {
        return false;
      }
    };
    expect(pids).toHaveLength(2);
    await vi.waitFor(() => expect(pids.filter(isThere)).toEqual([]), { timeout: 20_000 });
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
    expect(text).toContain(`${(100 * efficiency).toFixed(1)} ± 0.4 %`);
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
