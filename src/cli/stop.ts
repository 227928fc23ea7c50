/** `isoerg stop`: saves a run and ends it. */
import { Command } from "commander";
import { callUnary } from "../wire/client.js";
import { runControl } from "../wire/proto.js";
import { addWhichRun, type WhichRun, withCoordinator } from "./train/which-run.js";

export function stopCommand(): Command {
  return addWhichRun(
    new Command("stop").description("Save a run after the step under way, then end it. The same `isoerg train` goes on from there."),
  )
    .option("--reason <text>", "for the run's journal", "asked by isoerg stop")
    .addHelpText("after", "\nExample:\n  $ isoerg stop --coordinator 127.0.0.1:7070")
    .action(async (flags: WhichRun & { reason: string }) => {
      const { step } = await withCoordinator(flags, (client) => callUnary(client, runControl.stop, { reason: flags.reason }));
      process.stdout.write(`stopping after step ${step}\n`);
    });
}
