/** What people see of a run: one redrawn line on a terminal, a line now and then elsewhere. */
import { describe, expect, test } from "vitest";
import { createRunProgress, describeProgress } from "../../src/cli/train/run-progress.js";
import type { RunStatus } from "../../src/wire/messages.js";

const status: RunStatus = {
  runId: "r",
  name: "quickstart",
  state: "training",
  reason: "",
  generation: 1,
  step: 50,
  numSteps: 200,
  epoch: 1.25,
  samplesPerSecond: 512.4,
  etaSeconds: 95,
  metrics: {
    loss: 1.23456,
    "accuracy/clean": 0.61,
    "accuracy/adversarial": 0.34,
    "energy/clean": -3.25,
    "energy/adversarial": -3,
    "energy/generated": -2.75,
  },
  members: [
    { workerId: "local-0", rank: 0, engine: "", phase: "", step: 50, stepMs: 1, share: 1 },
    { workerId: "local-1", rank: 1, engine: "", phase: "", step: 50, stepMs: 1, share: 1 },
  ],
};

function screen(isTTY: boolean): { text: () => string; stream: { write: (text: string) => boolean; isTTY: boolean; columns: number } } {
  let written = "";
  return {
    text: () => written,
    stream: {
      isTTY,
      columns: 200,
      write: (text) => {
        written += text;
        return true;
      },
    },
  };
}

describe("progress", () => {
  test("one line has loss, accuracy, energies, speed and time left", () => {
    expect(describeProgress(status)).toBe(
      "step 50/200  epoch 1.25  loss 1.235  acc 61 % (34 % attacked)  E -3.3 / -3.0 / -2.8  512 samples/s  1 min 35 s left  2 workers",
    );
  });

  test("what a run lacks is left out; a run that waits says for what", () => {
    expect(describeProgress({ ...status, metrics: {}, samplesPerSecond: 0, etaSeconds: 0, members: status.members.slice(1) })).toBe(
      "step 50/200  epoch 1.25  1 worker",
    );
    expect(describeProgress({ ...status, state: "waiting", reason: "1 of 2 workers are here" })).toBe("waiting: 1 of 2 workers are here");
  });

  test("on a terminal the line is redrawn with a bar, and what stays is said above it", () => {
    const { stream, text } = screen(true);
    const progress = createRunProgress(stream, () => 0);
    progress.update(status);
    progress.say("checkpoint");
    const [drawn, rest] = text().split(" step 50/200 ");
    expect(drawn).toBe("\r\u001b[K[#####...............]");
    expect(rest?.endsWith("2 workers\r\u001b[Kcheckpoint\n")).toBe(true);
  });

  test("elsewhere a line comes every five seconds at most", () => {
    const { stream, text } = screen(false);
    let nowMs = 0;
    const progress = createRunProgress(stream, () => nowMs);
    for (nowMs = 0; nowMs <= 10_000; nowMs += 100) progress.update(status);
    expect(text().trim().split("\n")).toHaveLength(3);
  });
});
