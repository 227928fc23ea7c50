/** What `isoerg doctor` tells: each engine in a process of its own, and the report that people read. */
import { describe, expect, it } from "vitest";
import { probeEngine } from "../../src/cli/doctor/probe.js";
import { renderDiagnosis } from "../../src/cli/doctor/render.js";
import { describeMachine, instructionsOf } from "../../src/util/machine.js";

describe("isoerg doctor", () => {
  it("reports an engine that works with its self-test and its speed", async () => {
    const report = await probeEngine("wasm", { device: "cpu", threads: 1 });
    expect(report).toMatchObject({ name: "wasm", works: true, selfTest: { ok: true } });
    expect(report.works && report.peakGflops.fp32).toBeGreaterThan(0.1);
  });

  it("reports an engine that can't start with the reason and what to do", async () => {
    const report = await probeEngine("cpu", { device: "cuda:3", threads: 1 });
    expect(report).toEqual({
      name: "cpu",
      works: false,
      reason: "engine cpu computes on the cpu only, not on cuda:3",
      hint: "take --engine torch for a GPU, or --device cpu",
    });
  });

  it("finds the machine's memory, cores and system", () => {
    const machine = describeMachine();
    expect(machine.numCores).toBeGreaterThan(0);
    expect(machine.memoryBytes).toBeGreaterThan(1e8);
    expect(machine.node).toBe(process.versions.node);
  });

  it("reads instruction sets off x86 and arm processors", () => {
    expect(instructionsOf("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16 rdrnd\n")).toEqual(["avx2", "avx512f", "avx512_bf16"]);
    expect(instructionsOf("Features\t: fp asimd bf16 sve\n")).toEqual(["asimd", "bf16"]);
    expect(instructionsOf("")).toEqual([]);
  });

  it("tells the findings in one line each, and what to do below what fails", () => {
    const selfTest = { ok: true, worstError: 3e-7, tolerance: 1e-5 };
    const text = renderDiagnosis(
      {
        isoerg: "1.2.3",
        machine: {
          node: "20.1.0",
          system: "Debian GNU/Linux 12",
          platform: "linux x64, kernel 6.1",
          processor: "A Processor",
          numCores: 1,
          instructions: ["avx2"],
          memoryBytes: 24e9,
          memoryLimitBytes: 8e9,
          gpus: [],
        },
        libtorch: { ok: false, reason: "no libtorch" },
        compiler: null,
        engines: [
          { name: "torch", works: false, reason: "engine torch: no libtorch", hint: "apt-get install libtorch-dev" },
          {
            name: "wasm",
            works: true,
            version: "tfjs 4",
            device: "cpu",
            threads: 1,
            bf16: { supported: false, fast: false },
            selfTest,
            peakGflops: { fp32: 31.44, bf16: null },
            startMs: 5,
          },
          {
            name: "cpu",
            works: true,
            version: "tfjs 4",
            device: "cpu",
            threads: 2,
            bf16: { supported: true, fast: false },
            selfTest: { ...selfTest, ok: false, worstError: 0.2 },
            peakGflops: { fp32: 1234, bf16: 2 },
            startMs: 5,
          },
        ],
        auto: "wasm",
      },
      { color: false },
    );
    expect(text).toContain("  processor    A Processor, 1 core; avx2\n");
    expect(text).toContain("  memory       24.0 GB, limited to 8.0 GB\n");
    expect(text).toContain("  - torch      no libtorch\n    -> apt-get install libtorch-dev\n");
    expect(text).toContain("  + wasm       tfjs 4, cpu, 1 thread\n               largest error 3e-7; matrix products 31.4 GFLOP/s\n");
    expect(text).toContain(
      "SELF-TEST FAILED: largest error 2e-1, allowed 0.00001; matrix products 1.2 TFLOP/s, bf16 2.00 GFLOP/s (no instructions for it)",
    );
    expect(text).toMatch(/--engine auto takes wasm\.\n$/);
  });
});
