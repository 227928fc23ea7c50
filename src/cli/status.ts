/** `isoerg status`: where a run stands now. */
import { writeFile } from "node:fs/promises";
import { Command } from "commander";
import { callUnary } from "../wire/client.js";
import type { RunStatus } from "../wire/messages.js";
import { runControl } from "../wire/proto.js";
import { textTable } from "./text-table.js";
import { describeProgress } from "./train/run-progress.js";
import { addWhichRun, type WhichRun, withCoordinator } from "./train/which-run.js";

export function statusCommand(): Command {
  return addWhichRun(new Command("status").description("Where a run stands: step, speed, figures, and what each worker does."))
    .option("--json <file>", "write the status")
    .addHelpText("after", "\nExample:\n  $ isoerg status --coordinator 127.0.0.1:7070\n  $ isoerg status --run runs/quickstart")
    .action(async (flags: WhichRun & { json?: string }) => {
      const status = await withCoordinator(flags, (client) => callUnary(client, runControl.status, {}));
      process.stdout.write(describeStatus(status));
      if (flags.json !== undefined) await writeFile(flags.json, `${JSON.stringify(status, null, 2)}\n`);
    });
}

/** Several lines for people. */
export function describeStatus(status: RunStatus): string {
  const { runId, state, reason, generation, members } = status;
  const head = `${runId}: ${state}${reason === "" ? "" : ` (${reason})`}\n${describeProgress(status)}, generation ${generation}\n`;
  const rows = members.map(({ rank, workerId, engine, phase, step, stepMs }) => [
    `rank ${rank}`,
    workerId,
    phase,
    `step ${step}`,
    `${Math.round(stepMs)} ms`,
    engine,
  ]);
  return rows.length === 0 ? head : `${head}${textTable(rows)}`;
}
