/** `isoerg train --dry-run`: what it says, in which order, and that it computes no more than it was allowed. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dryRun } from "../../../src/cli/train/dry-run.js";
import { dryRunTerminal } from "../../../src/cli/train/dry-run-terminal.js";
import { loadConfig } from "../../../src/config/load.js";
import { prepareExperiment } from "../../kit/cluster.js";

let folder: string;
let experiment: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isoerg-dry-run-"));
  experiment = await prepareExperiment(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** All that is reported, in its order: rows as [label, value], what is under way as [value]. */
async function reported(limitSeconds: number, workers = 1): Promise<readonly (readonly string[])[]> {
  const said: string[][] = [];
  const { config } = loadConfig({ source: experiment, env: {} });
  await dryRun({
    config,
    workers,
    engine: { engine: "cpu", device: "cpu", threads: 1 },
    limitSeconds,
    report: { row: (label, value) => said.push([label, value]), status: (text) => said.push([text]) },
  });
  return said;
}

describe("a dry run", () => {
  it("tells the plan before an engine is started, and estimates before anything is measured", async () => {
    const said = await reported(600, 2);
    const order = said.map(([first]) => first);
    const places = [
      "data set",
      "steps",
      "starting the engine",
      "memory, estimated",
      "measuring the engine's speed",
      "one step, estimated",
      "one step, measured",
    ];
    expect(places.map((place) => order.indexOf(place))).toEqual([...places.map((place) => order.indexOf(place))].sort((a, b) => a - b));
    expect(order).not.toContain(undefined);
    const rows = new Map(said.filter((one) => one.length === 2) as [string, string][]);
    expect(rows.get("samples a step")).toBe("10 (5 + 5)");
    expect(rows.get("memory, estimated")).toMatch(/^[\d.]+ MiB of tensors at most, in each of 2 workers$/);
    expect(rows.get("one step, estimated")).toMatch(/^about [\d.]+ s for the whole batch in one process, at [\d.]+ GFLOP\/s/);
    // There was time for the whole step, so nothing is extrapolated.
    expect(rows.get("one step, measured")).toMatch(/^[\d.]+ s, the whole batch, here$/);
    expect(rows.get("    phases, ms")).toMatch(/attack \d+ {2}sample \d+ {2}gradient \d+/);
    expect(rows.get("    figures")).toMatch(/loss/);
    expect(rows.get("all steps at that speed")).toMatch(/in one process$/);
  });

  it("measures nothing where it may not, and says how long it would have needed", async () => {
    expect((await reported(0)).map(([first]) => first)).not.toContain("measuring the engine's speed");
    const refused = await reported(1e-9);
    const [label, value] = refused.at(-1) as [string, string];
    expect(label).toBe("one step, measured");
    expect(value).toMatch(/^not measured: a step of 1 sample and 1 chain would take about .* s; --dry-run-limit \d+ measures it$/);
    expect(refused.some(([first]) => first?.startsWith("computing"))).toBe(false);
  });

  it("writes rows to the output, and what is under way to the error stream: rewritten on a terminal, a line elsewhere", () => {
    const written = { out: "", error: "" };
    const stream = (name: "out" | "error", isTTY: boolean) => ({
      isTTY,
      write: (text: string | Uint8Array) => {
        written[name] += String(text);
        return true;
      },
    });
    const plain = dryRunTerminal({ out: stream("out", false), error: stream("error", false) });
    plain.status("starting the engine");
    plain.row("steps", "12");
    plain.end();
    expect(written).toEqual({ out: expect.stringMatching(/^steps {2,}12\n$/), error: "starting the engine ...\n" });
    written.error = "";
    const live = dryRunTerminal({ out: stream("out", true), error: stream("error", true) });
    live.status("starting the engine");
    live.row("steps", "12");
    expect(written.error).toBe("\r\u001b[Kstarting the engine ...\r\u001b[K");
  });
});
