/** A trial's learning curve on disk: thinned by means, and without lines of what was trained anew. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parseMetrics } from "../../src/report/run-record.js";
import { openCurveLog } from "../../src/sweep/trial/curve-log.js";

const folder = mkdtempSync(join(tmpdir(), "isoerg-curve-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function write(from: number, to: number, total: number, shift = 0): void {
  let ms = 0;
  const now = (): Date => {
    ms += 1000;
    return new Date(ms);
  };
  const log = openCurveLog(folder, { from, total, stepsPerEpoch: 10, batchSize: 64, now });
  for (let step = from; step < to; step++) {
    const every = step % 2 === 0 ? { "energy/generated": -step } : {};
    log.committed(step, { loss: step + shift, ...every });
  }
  log.close();
}

const read = () => parseMetrics(readFileSync(join(folder, "metrics.jsonl"), "utf8"));

describe("a trial's learning curve", () => {
  it("has about 500 lines however long the training is, each the mean of a stretch", () => {
    write(0, 2000, 2000);
    const lines = read();
    expect(lines).toHaveLength(500);
    expect(lines[0]).toMatchObject({ step: 3, epoch: 0.4, metrics: { loss: 1.5, "energy/generated": -1 }, stepMs: 250 });
    expect(lines.at(-1)).toMatchObject({ step: 1999, epoch: 200, metrics: { loss: 1997.5 } });
  });

  it("goes on where a rung ended, and drops what a crash left of the rung that comes again", () => {
    rmSync(join(folder, "metrics.jsonl"));
    write(0, 30, 90);
    write(30, 50, 90); // killed: its checkpoint was never written
    write(30, 90, 90, 1000);
    const lines = read();
    expect(lines.map(({ step }) => step)).toEqual(Array.from({ length: 90 }, (_, i) => i));
    expect(lines.map(({ metrics }) => metrics.loss)).toEqual(Array.from({ length: 90 }, (_, i) => (i < 30 ? i : i + 1000)));
  });
});
