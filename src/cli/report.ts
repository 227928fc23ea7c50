/** `isoerg report`: a run, or several side by side, as one HTML page. */
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Command } from "commander";
import { renderReport } from "../report/report.js";
import { readRunRecord } from "../report/run-record.js";
import { packageVersion } from "../util/package.js";

export function reportCommand(): Command {
  return new Command("report")
    .description("a run as one HTML page: figures, energies, samples, curves")
    .argument("<run>", "the run's folder")
    .argument("[others...]", "runs to compare it with")
    .option("--out <file>", "the page (default: report.html in the first run's folder)")
    .addHelpText(
      "after",
      "\nThe page opens from disk; nothing is fetched.\n\nExample:\n  $ isoerg report runs/quickstart runs/standard --out comparison.html",
    )
    .action(async (path: string, others: readonly string[], flags: { readonly out?: string }) => {
      const records = [];
      for (const folder of [path, ...others]) records.push(await readRunRecord(folder));
      const out = flags.out ?? join(path, "report.html");
      await writeFile(`${out}.partial`, renderReport(records, { now: new Date(), isoergVersion: packageVersion() }));
      await rename(`${out}.partial`, out);
      for (const { folder, evaluation } of records) {
        if (!evaluation) process.stderr.write(`note: ${folder} is not evaluated; isoerg evaluate ${folder} adds its figures\n`);
      }
      process.stdout.write(`wrote ${out}\n`);
    });
}
