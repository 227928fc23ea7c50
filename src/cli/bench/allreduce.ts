/** `isoerg bench allreduce`: how fast gradients are summed over processes of this machine, and beside a peer. */
import { writeFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { ALL_REDUCE_WORLD_SIZES, type AllReducePeer, benchAllReduce, formatAllReduceBench } from "../../../bench/allreduce.js";
import { parseCount } from "../engine-options.js";
import { interruptible } from "../interruptible.js";

interface Flags {
  readonly ranks: readonly number[];
  readonly rounds: number;
  readonly seconds: number;
  readonly peer: AllReducePeer;
  readonly python: string;
  readonly json?: string;
}

export function allReduceCommand(): Command {
  return new Command("allreduce")
    .description("Time sums of vectors over processes, for sizes from bytes to tens of megabytes.")
    .option("--ranks <list>", "numbers of processes, with commas between", parseRanks, ALL_REDUCE_WORLD_SIZES)
    .option("--rounds <n>", "rings opened of each program, in turn", parseCount, 2)
    .option("--seconds <n>", "how long each size is summed in each round, about", parseCount, 1)
    .addOption(new Option("--peer <peer>", "measure another program in turn").choices(["none", "gloo"]).default("none"))
    .option("--python <path>", "the Python that has PyTorch, for gloo", "/usr/bin/python3")
    .option("--json <file>", "write the figures as JSON")
    .addHelpText("after", "\nExample:\n  $ isoerg bench allreduce --ranks 2,4,8 --peer gloo --json allreduce.json\n")
    .action((flags: Flags) => interruptible((signal) => benchAndTell(flags, signal)));
}

async function benchAndTell({ ranks, rounds, seconds, peer, python, json }: Flags, signal: AbortSignal): Promise<void> {
  const live = process.stderr.isTTY === true;
  const status = (text: string) => live && process.stderr.write(`\r\u001b[K${text}`);
  const bench = await benchAllReduce({
    ...{ worldSizes: ranks, rounds, secondsPerSize: seconds, peer, python, signal },
    onTurn: (turn) => status(`${turn.worldSize} ranks: ${turn.who}, round ${turn.round + 1} of ${rounds} ...`),
  });
  status("");
  process.stdout.write(`${formatAllReduceBench(bench).trimEnd()}\n`);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(bench, null, 2)}\n`);
}

function parseRanks(text: string): readonly number[] {
  const counts = text.split(",").map(parseCount);
  if (counts.some((count) => count < 2)) throw new InvalidArgumentError("A sum takes two processes or more.");
  return counts;
}
