/** `isoerg bench step`: that it times the real training step, and that the PyTorch peer computes the same network. */
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { stepCase, stepCases } from "../../bench/step/cases.js";
import type { StepResult } from "../../bench/step/job.js";
import { type CaseResult, flopsPerStep, ratioToFp32, summarise } from "../../bench/step/measure.js";
import { type JobOptions, prepareJob } from "../../bench/step/prepare.js";
import { runJob } from "../../bench/step/run.js";
import { renderPart, renderResults } from "../../src/cli/bench/render.js";
import { packageRoot } from "../../src/util/package.js";

const python = "/usr/bin/python3";
const hasPytorch = spawnSync(python, ["-c", "import torch"]).status === 0;
const options: JobOptions = { engine: "wasm", device: "cpu", threads: 1, precision: "fp32", warmupSteps: 1, timedSteps: 2 };
const small = [
  stepCase("wrn-10-1", "a residual network", 16, { kind: "wide-resnet", depth: 10, width: 1 }),
  stepCase("convnet", "a plain one", 16, { kind: "convnet", stages: [{ channels: 4, stride: 2 }, { channels: 6 }] }),
];
small.forEach(({ config }) => {
  Object.assign(config, { attack: { ...config.attack, steps: 1 }, sampler: { ...config.sampler, steps: 1 } });
});

describe("the job of a measuring process", () => {
  it.each(small)("is the whole training step, timed and taken apart: $name", async (stepCase) => {
    const { folder, job } = prepareJob(stepCase, options);
    try {
      const result = await runJob(folder);
      expect(result.program).toMatch(/^isoerg, wasm/);
      expect(result.stepMs).toHaveLength(2);
      for (const part of ["attack", "sample", "gradient", "update"]) expect(result.partsMs[part]).toBeGreaterThan(0);
      const sum = Object.values(result.partsMs).reduce((a, b) => a + b, 0);
      expect(sum).toBeCloseTo(((result.stepMs[0] as number) + (result.stepMs[1] as number)) / 2, 6);
      expect(result.checkLoss).toBeGreaterThan(0.1);
      expect(job.timedSteps).toBe(2);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it.skipIf(!hasPytorch)("means the same network to PyTorch", { timeout: 60_000 }, async () => {
    for (const stepCase of small) {
      const { folder } = prepareJob(stepCase, options);
      try {
        const ours = await runJob(folder);
        const answer = execFileSync(python, [join(packageRoot, "bench", "peers", "pytorch_step.py"), folder], { encoding: "utf8" });
        const theirs = JSON.parse(answer) as StepResult;
        expect(theirs.checkLoss).toBeCloseTo(ours.checkLoss, 4);
        expect(theirs.stepMs).toHaveLength(2);
        expect(theirs.opsPerStep).toBeGreaterThan(50);
      } finally {
        rmSync(folder, { recursive: true });
      }
    }
  });

  it("holds every weight of the model, at two points", () => {
    const { folder, job } = prepareJob(small[0] as (typeof small)[0], options);
    const bytes = job.parameters.reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);
    const [initial, check] = ["initial.f32", "check.f32"].map((name) => readFileSync(join(folder, name))) as [Buffer, Buffer];
    expect([initial.length, check.length]).toEqual([bytes, bytes]);
    expect(initial.equals(check)).toBe(false);
    rmSync(folder, { recursive: true });
  });
});

describe("the figures", () => {
  const result = (stepMs: number[], partsMs: Record<string, number>): StepResult => ({
    program: "p",
    stepMs,
    partsMs,
    checkLoss: 2,
    peakRssBytes: 5e8,
    startRssBytes: 2e8,
    peakTensorBytes: null,
    opsPerStep: 7,
    peakGflops: 100,
  });

  it("are medians over all rounds, and images a second of those", () => {
    const pooled = summarise([result([10, 30], { attack: 4 }), result([20, 100], { attack: 8 })], { batchSize: 50, flops: 1e9 });
    expect(pooled.stepMs).toEqual({ median: 25, min: 10, max: 100, count: 4 });
    expect(pooled.imagesPerSecond).toBe(2000);
    expect(pooled.partsMs).toEqual({ attack: 6 });
    expect(pooled.shareOfPeak).toBeCloseTo(0.4); // 1e9 in 25 ms is 40 GFLOP/s
  });

  it("count the arithmetic of the network's passes", () => {
    const wrn = stepCases.find(({ name }) => name === "wrn-16-2");
    // 5 attack and 10 Langevin steps of 64 images at 4, three views of 64 at 6 operations a multiplication
    expect(flopsPerStep(wrn as (typeof stepCases)[0], 1e6)).toBe(1e6 * (4 * 15 * 64 + 6 * 3 * 64));
  });

  it("are shown beside those of the peer", () => {
    const isoerg = summarise([result([100], { attack: 60, update: 40 })], { batchSize: 64, flops: 5e9 });
    const peer = summarise([{ ...result([150], { attack: 150 }), program: "peer", peakGflops: null }], { batchSize: 64, flops: 5e9 });
    const one: CaseResult = {
      ...{
        case: "c",
        summary: "s",
        threads: 2,
        precision: "fp32",
        batchSize: 64,
        isoerg,
        peer,
        peerFp32: null,
        ratio: 1.5,
        ratioToFp32: null,
        memoryRatio: 1,
      },
    };
    expect(renderPart(one)).toContain(
      "  p: 100 ms (median of 1, 100 to 100); 7 operations; 50 % of 100 GFLOP/s\n    attack 60.0, update 40.0\n",
    );
    expect(renderResults([one]).split("\n")[1]).toMatch(/^c +2 +fp32 +100 +640 +50 % +500 MB +150 +500 MB +1\.50 x *$/);
    // A bf16 case is held to the peer's fp32 figures of the same invocation.
    const narrow = { ...one, precision: "bf16", isoerg: summarise([result([50], {})], { batchSize: 64, flops: 5e9 }), peerFp32: peer };
    expect(ratioToFp32("bf16", narrow)).toBe(3);
    expect(ratioToFp32("fp32", one)).toBe(1.5);
    expect(ratioToFp32("bf16", { ...narrow, peerFp32: null })).toBeNull();
    const shown = { ...narrow, ratioToFp32: 3 };
    expect(renderResults([shown]).split("\n")[1]).toMatch(/3\.00 x *$/);
    expect(renderPart(shown)).toContain("  peer in fp32: 150 ms (median of 1, 150 to 150); 7 operations\n");
  });
});
