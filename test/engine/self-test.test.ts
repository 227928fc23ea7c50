/** The doctor's self-test and the yardstick, on the engines that are always there. */
import { describe, expect, it } from "vitest";
import { startEngine } from "../../src/engine/choose.js";
import type { EngineName } from "../../src/engine/engine.js";
import { ops, registerOps } from "../../src/engine/ops.js";
import { measurePeak } from "../../src/engine/peak.js";
import { selfTest } from "../../src/engine/self-test.js";

const names: readonly EngineName[] = ["cpu", "wasm"];

describe.each(names)("the self-test of %s", (name) => {
  const start = () => startEngine({ engine: name, device: "cpu", threads: 1 });

  it("passes", async () => {
    const result = await selfTest(await start());
    expect(result).toMatchObject({ ok: true });
    expect(result.worstError).toBeLessThan(1e-5);
  });

  it("fails when a gradient is slightly wrong", async () => {
    const engine = await start();
    const right = ops();
    registerOps(name, {
      ...right,
      conv2dInputGrad: (dy, f, shape, g) => right.conv2dInputGrad(dy, f, shape, { ...g, padding: g.padding - 1 }),
    });
    const result = await selfTest(engine);
    registerOps(name, right);
    expect(result.ok).toBe(false);
  });

  it("measures a matrix product's rate", async () => {
    await start();
    let clock = 0;
    const gflops = measurePeak({ precision: "fp32", budgetMs: 1, nowMs: () => clock++ });
    expect(gflops).toBeCloseTo((2 * 64 ** 3) / 1e6); // one tick of the clock for 64 x 64
  });
});
