/** `isoerg report`: a run, or several side by side, as one HTML page; what its decisions cost; its model card. */
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Command } from "commander";
import { readCosts } from "../evaluate/decision/costs.js";
import { renderModelCard } from "../report/model-card.js";
import { renderReport } from "../report/report.js";
import { readRunRecord } from "../report/run-record.js";
import { isStudy, readStudyRecord } from "../report/study/study-record.js";
import { renderStudyReport } from "../report/study/study-report.js";
import { IsoergError } from "../util/error.js";
import { packageVersion } from "../util/package.js";

interface Flags {
  readonly out?: string;
  readonly costs?: string;
  readonly card?: string;
}

export function reportCommand(): Command {
  return new Command("report")
    .description("A run, several runs or a sweep's study as one HTML page: figures, robustness, energies, mistakes, curves, settings.")
    .argument("<run>", "the run's folder, or a study's")
    .argument("[others...]", "runs to compare it with")
    .option("--out <file>", "the page (default: report.html in the first run's folder)")
    .option("--costs <file>", "what mistakes cost, as YAML: adds the expected cost of 1,000 decisions and the break-even between models")
    .option("--card <file>", "also write a model card of the first run, as Markdown")
    .addHelpText(
      "after",
      `
The page opens from disk; nothing is fetched. It shows what the run's folder holds; a list at its end names the commands for the rest.

A costs file:
  currency: EUR
  attackRate: 0.01          # share of inputs that are attacked or disturbed
  mistakes:
    default: 1              # of a mistake that is not named below
    classes:
      truck: { automobile: 0.2, default: 40 }   # true class: cost by decided class
  abstain: { below: 0.6, cost: 0.5 }            # less sure decisions go to a person
  compute: { default: 0.02, runs: { quickstart: 0.05 } }   # of 1,000 decisions

Examples:
  $ isoerg report runs/quickstart runs/standard --out comparison.html
  $ isoerg report runs/quickstart runs/standard --costs costs.yaml --card MODELCARD.md
  $ isoerg report runs/sweep`,
    )
    .action(async (path: string, others: readonly string[], flags: Flags) => {
      const study = [path, ...others].find(isStudy);
      if (study !== undefined) {
        await reportStudy(study, others, flags);
        return;
      }
      const costs = flags.costs === undefined ? undefined : await readCosts(flags.costs);
      const records = [];
      for (const folder of [path, ...others]) records.push(await readRunRecord(folder));
      const [subject] = records;
      const about = { now: new Date(), isoergVersion: packageVersion() };
      const page = renderReport(records, { ...about, ...(costs && { costs }) });
      const out = flags.out ?? join(path, "report.html");
      await replaceFile(out, page);
      if (flags.card !== undefined && subject) await replaceFile(flags.card, renderModelCard(subject, about));
      for (const { folder, evaluation } of records) {
        if (!evaluation) process.stderr.write(`note: ${folder} is not evaluated; isoerg evaluate ${folder} adds its figures\n`);
      }
      process.stdout.write(`wrote ${out}\n`);
      if (flags.card !== undefined) process.stdout.write(`wrote ${flags.card}; fill in what only you know\n`);
    });
}

/** A study's page stands alone: its trials are compared with each other, on validation images. */
async function reportStudy(folder: string, others: readonly string[], flags: Flags): Promise<void> {
  if (others.length > 0 || flags.costs !== undefined || flags.card !== undefined) {
    throw new IsoergError("USAGE", `${folder} holds a sweep's study, which is reported alone, without --costs and --card`, {
      hint: `isoerg report ${folder}; its trials are runs too: isoerg report ${join(folder, "trials", "0000", "seed-1")}`,
    });
  }
  const out = flags.out ?? join(folder, "report.html");
  await replaceFile(out, renderStudyReport(await readStudyRecord(folder), { now: new Date(), isoergVersion: packageVersion() }));
  process.stdout.write(`wrote ${out}\n`);
}

async function replaceFile(path: string, text: string): Promise<void> {
  await writeFile(`${path}.partial`, text);
  await rename(`${path}.partial`, path);
}
