/** `isoerg bench step`: how long a whole training step takes here, in which parts, and beside a peer. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { Command, Option } from "commander";
import { stepCases } from "../../../bench/step/cases.js";
import { type CaseResult, type MeasureOptions, measureCase, type Peer } from "../../../bench/step/measure.js";
import type { Precision } from "../../engine/ops.js";
import { IsoergError } from "../../util/error.js";
import { describeMachine } from "../../util/machine.js";
import { didYouMean } from "../../util/nearest.js";
import { packageRoot, packageVersion } from "../../util/package.js";
import { addEngineOptions, type EngineFlags } from "../engine-options.js";
import { interruptible } from "../interruptible.js";
import { parseCount } from "../numbers.js";
import { renderPart, renderResults } from "./render.js";

interface StepFlags extends EngineFlags {
  readonly precision: Precision;
  readonly peer: Peer;
  readonly python: string;
  readonly rounds: number;
  readonly warmup: number;
  readonly steps: number;
  readonly all?: true;
  readonly json?: string;
}

export function stepCommand(): Command {
  const command = new Command("step")
    .description("Time the whole training step and its parts: attack, sampling, update.")
    .argument("[case...]", `which steps: ${stepCases.map(({ name }) => name).join(", ")}; all of them by default`);
  return addEngineOptions(command)
    .addOption(new Option("--precision <precision>", "of attack and sampling").choices(["fp32", "tf32", "bf16"]).default("fp32"))
    .addOption(new Option("--peer <peer>", "measure another program in turn").choices(["none", "pytorch"]).default("none"))
    .option("--python <path>", "the Python that has PyTorch", "/usr/bin/python3")
    .option("--rounds <n>", "processes of each program, in turn", parseCount, 3)
    .option("--warmup <n>", "steps that don't count in each process, after the first", parseCount, 2)
    .option("--steps <n>", "timed steps in each process", parseCount, 5)
    .option("--all", "each step with 1 and with 2 threads, its inner loops in fp32 and in bf16")
    .option("--json <file>", "write the figures as JSON")
    .addHelpText(
      "after",
      "\nExample:\n  $ isoerg bench step wrn-16-2 --threads 2 --peer pytorch --json step.json\n  $ isoerg bench step --all --peer pytorch --rounds 2 --steps 3 --json all.json",
    )
    .action((names: string[], flags: StepFlags) => interruptible((signal) => benchStep(names, flags, signal)));
}

async function benchStep(names: readonly string[], flags: StepFlags, signal: AbortSignal): Promise<void> {
  const cases = names.length === 0 ? stepCases : names.map(findCase);
  const live = process.stderr.isTTY === true;
  const status = (text: string) => live && process.stderr.write(`\r\u001b[K${text}`);
  const { engine, device, rounds, peer, python } = flags;
  const variants: readonly Pick<MeasureOptions, "threads" | "precision">[] = flags.all
    ? [1, 2].flatMap((threads) => (["fp32", "bf16"] as const).map((precision) => ({ threads, precision })))
    : [{ threads: flags.threads, precision: flags.precision }];
  const results: CaseResult[] = [];
  for (const stepCase of cases) {
    for (const variant of variants) {
      const options: MeasureOptions = {
        ...{ engine, device, rounds, peer, python, signal, ...variant },
        warmupSteps: flags.warmup,
        timedSteps: flags.steps,
        onTurn: (turn) =>
          status(`${turn.case}, ${variant.threads} x ${variant.precision}: ${turn.who}, round ${turn.round + 1} of ${rounds} ...`),
      };
      const result = await measureCase(stepCase, options);
      status("");
      results.push(result);
      process.stdout.write(renderPart(result));
    }
  }
  process.stdout.write(`\n${renderResults(results)}`);
  if (flags.json !== undefined) {
    const report = {
      isoerg: packageVersion(),
      commit: sourceCommit(),
      date: new Date().toISOString(),
      machine: describeMachine(),
      cases: results,
    };
    writeFileSync(flags.json, `${JSON.stringify(report, null, 2)}\n`);
  }
}

function findCase(name: string) {
  const names = stepCases.map((stepCase) => stepCase.name);
  const found = stepCases.find((stepCase) => stepCase.name === name);
  if (found) return found;
  throw new IsoergError("USAGE", `no step is called '${name}'${didYouMean(name, names)}`, { hint: `steps: ${names.join(", ")}` });
}

/** Of the checkout that this program was built in, marked where it was changed since; null outside of one. */
export function sourceCommit(): string | null {
  const answer = spawnSync("git", ["-C", packageRoot, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"], {
    encoding: "utf8",
  });
  return answer.status === 0 ? answer.stdout.trim() : null;
}
