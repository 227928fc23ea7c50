/** Which engine is started, and what is said when one can't be. */
import { describe, expect, it } from "vitest";
import { startEngine } from "../../src/engine/choose.js";

const cpu = { device: "cpu", threads: 1 };

describe("the choice of an engine", () => {
  it("starts the engine that was named", async () => {
    const engine = await startEngine({ engine: "wasm", ...cpu });
    expect(engine).toMatchObject({ name: "wasm", device: "cpu", why: "asked for by name" });
    expect(engine.memory().peakBytes).toBeGreaterThan(1e6);
  });

  it("takes one that works for auto, and names what it passed over", async () => {
    const engine = await startEngine({ engine: "auto", ...cpu });
    expect(["torch", "tensorflow", "wasm"]).toContain(engine.name);
    expect(engine.why).toMatch(/^the fastest engine that works here/);
    if (engine.name === "wasm") expect(engine.why).toMatch(/no torch: .+; no tensorflow: /);
  });

  it("never replaces an engine that was named", async () => {
    const refusal = startEngine({ engine: "wasm", device: "cuda", threads: 1 });
    await expect(refusal).rejects.toMatchObject({ code: "ENGINE", hint: expect.stringContaining("torch") });
    await expect(refusal).rejects.toThrow("wasm computes on the cpu only, not on cuda");
  });
});
