import { afterEach, describe, expect, it, vi } from "vitest";
import { interruptible } from "../../src/cli/interruptible.js";

describe("interruptible", () => {
  afterEach(() => vi.restoreAllMocks());

  /** Work that ends a while after it was asked to, and what happened to the process meanwhile. */
  async function interrupted(...afterMs: number[]): Promise<{ exits: number; reason: unknown }> {
    const exit = vi.spyOn(process, "exit").mockImplementation((() => undefined) as never);
    let time = 1000;
    vi.spyOn(performance, "now").mockImplementation(() => time);
    const reason = await interruptible(async (signal) => {
      for (const ms of afterMs) {
        time += ms;
        process.emit("SIGINT", "SIGINT");
      }
      return signal.reason;
    });
    return { exits: exit.mock.calls.length, reason };
  }

  it("asks the work to end, and lets go of the signals when it has", async () => {
    const before = process.listenerCount("SIGINT");
    expect(await interrupted(1)).toMatchObject({ exits: 0, reason: { code: "STOPPED", message: "stopped by SIGINT" } });
    expect(process.listenerCount("SIGINT")).toBe(before);
  });

  it("takes a signal that arrives twice, as it does below npm, for one press", async () => {
    expect(await interrupted(1, 20)).toMatchObject({ exits: 0 });
  });

  it("ends the process at once on a second press", async () => {
    expect(await interrupted(1, 20, 900)).toMatchObject({ exits: 1 });
  });
});
