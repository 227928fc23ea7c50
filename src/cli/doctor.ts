/** `isoerg doctor`: what this machine has, which engines work on it, how fast they are, and what would be needed for the others. */
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Command } from "commander";
import { IsoergError } from "../util/error.js";
import { examine } from "./doctor/examine.js";
import { renderDiagnosis } from "./doctor/render.js";

interface Options {
  readonly device: string;
  readonly threads: string;
  readonly json?: string;
}

export function doctorCommand(): Command {
  return new Command("doctor")
    .description("What this machine has: engines, devices, versions, a self-test and the speed of each engine.")
    .option("--device <device>", "cpu, cuda or cuda:N", "cpu")
    .option("--threads <n>", "threads that an engine may use", String(availableParallelism()))
    .option("--json <file>", "write the findings as JSON")
    .addHelpText("after", "\nExample:\n  $ isoerg doctor --json machine.json")
    .action(doctor);
}

async function doctor(options: Options): Promise<void> {
  const threads = Number(options.threads);
  if (!Number.isInteger(threads) || threads < 1) {
    throw new IsoergError("USAGE", `--threads ${options.threads}: not a number of threads`, { hint: "give a whole number from 1 on" });
  }
  const live = process.stderr.isTTY === true;
  const status = (text: string) => live && process.stderr.write(`\r\u001b[K${text}`);
  const diagnosis = await examine({ device: options.device, threads, onEngine: (name) => status(`testing ${name} ...`) });
  status("");
  process.stdout.write(renderDiagnosis(diagnosis, { color: process.stdout.isTTY === true && process.env.NO_COLOR === undefined }));
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(diagnosis, null, 2)}\n`);

  const broken = diagnosis.engines.filter((engine) => engine.works && !engine.selfTest.ok).map((engine) => engine.name);
  if (broken.length > 0) {
    throw new IsoergError("ENGINE", `wrong results from ${broken.join(", ")}`, { hint: "don't train with it; take another with --engine" });
  }
  if (diagnosis.auto === null) throw new IsoergError("ENGINE", "no engine works here", { hint: "run `npm ci` again" });
}
