/** `isoerg watch`: follows a run until it ends. */
import { Command } from "commander";
import { callServerStream, networkError } from "../wire/client.js";
import type { RunStatus } from "../wire/messages.js";
import { runControl } from "../wire/proto.js";
import { createRunProgress } from "./train/run-progress.js";
import { addWhichRun, type WhichRun, withCoordinator } from "./train/which-run.js";

export function watchCommand(): Command {
  return addWhichRun(new Command("watch").description("Follow a run until it ends; Ctrl-C ends the watching only."))
    .option("--json-lines", "print each status as a line of JSON")
    .addHelpText("after", "\nExample:\n  $ isoerg watch --coordinator 127.0.0.1:7070")
    .action(async (flags: WhichRun & { jsonLines?: true }) => {
      const progress = createRunProgress(process.stdout);
      await withCoordinator(flags, async (client) => {
        let last: RunStatus | undefined;
        try {
          for await (const status of callServerStream(client, runControl.watch, {}) as AsyncIterable<RunStatus>) {
            if (flags.jsonLines) process.stdout.write(`${JSON.stringify(status)}\n`);
            else progress.update(status);
            last = status;
          }
        } catch (error) {
          throw networkError(error as Error);
        } finally {
          progress.end();
        }
        if (last && !flags.jsonLines) progress.say(`${last.state}: ${last.reason}`);
      });
    });
}
