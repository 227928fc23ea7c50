import { expect, it } from "vitest";
import { prometheusText } from "../../src/report/prometheus.js";

const status = {
  runId: "r1",
  name: 'a "quoted" \\ name\n',
  state: "training",
  reason: "",
  generation: 2,
  step: 41,
  numSteps: 100,
  epoch: 0.5,
  samplesPerSecond: 1234.5,
  etaSeconds: 60,
  metrics: { loss: 1.5, "energy/clean": Number.NaN },
  members: [{ workerId: "w0", rank: 0, engine: "cpu", phase: "attack", step: 41, stepMs: 250, share: 1 }],
} as const;

it("writes each family once, with help, type and escaped labels", () => {
  const text = prometheusText(status);
  const lines = text.trimEnd().split("\n");
  for (const line of lines) {
    // The exposition format's grammar: a comment, or name{label="value",...} number.
    expect(line).toMatch(/^(# (HELP|TYPE) isoerg_[a-z_]+ .+|isoerg_[a-z_]+\{([a-z_]+="([^"\\]|\\["\\n])*",?)+\} (NaN|-?[\d.e+-]+))$/);
  }
  expect(text).toContain('isoerg_step{run="a \\"quoted\\" \\\\ name\\n",run_id="r1"} 41\n');
  expect(text).toContain('state="training"} 1\n');
  expect(text).toContain('state="failed"} 0\n');
  expect(text).toMatch(/isoerg_metric\{.*metric="energy\/clean"\} NaN\n/);
  expect(text).toMatch(/isoerg_worker_step_seconds\{.*worker="w0",rank="0"\} 0.25\n/);
  const types = lines.filter((line) => line.startsWith("# TYPE")).map((line) => line.split(" ")[2]);
  expect(new Set(types).size).toBe(types.length);
});

it("leaves out what has no samples yet", () => {
  const text = prometheusText({ ...status, metrics: {}, members: [] });
  expect(text).not.toContain("isoerg_metric");
  expect(text).toContain('isoerg_workers{run="a');
});
