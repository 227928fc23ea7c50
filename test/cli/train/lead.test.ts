/** Leading a run from a command: a start that too few workers came to says which option waits longer. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { coordinatorCommand } from "../../../src/cli/coordinator.js";
import { leadRun } from "../../../src/cli/train/lead.js";
import { trainCommand } from "../../../src/cli/train.js";
import { preparedToy, temporaryFolder } from "../../data/toy.js";
import { smallConfig } from "../../kit/small-run.js";

describe("a run whose workers are too slow to start", () => {
  it("ends as one that may be tried again, and names the option", async () => {
    const runFolder = await temporaryFolder();
    await mkdir(join(runFolder, "logs"), { recursive: true });
    let hasListened = false;
    const run = leadRun({
      config: smallConfig({ data: { path: await preparedToy(), batchSize: 10, shuffleBlock: 8 } }),
      runFolder,
      workers: 2,
      minWorkers: 1,
      slices: "equal",
      listen: "127.0.0.1:0",
      timeouts: { joinMs: 0, rejoinMs: 0 },
      resume: false,
      onListening() {
        hasListened = true;
        return { ended: async () => {} };
      },
    });
    await expect(run).rejects.toMatchObject({
      code: "BELOW_MINIMUM",
      message: "the run could not begin: 0 of 2 workers are here after 0 s, and the minimum is 1",
      hint: expect.stringContaining("--join-timeout SECONDS"),
    });
    expect(hasListened).toBe(true);
  });

  it("is waited for by the same option wherever a run is led, 60 s without it", () => {
    const [train, coordinator] = [trainCommand(), coordinatorCommand()].map((command) =>
      command.options.find(({ long }) => long === "--join-timeout"),
    );
    expect(train).toMatchObject({ defaultValue: 60, description: coordinator?.description });
    expect(coordinator?.defaultValue).toBe(60);
  });
});
