/** `isoerg bench allreduce`: how fast gradients are summed over processes of this machine, and beside a peer. */
import { writeFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import {
  ALL_REDUCE_SIZES_BYTES,
  ALL_REDUCE_WORLD_SIZES,
  type AllReducePeer,
  benchAllReduce,
  formatAllReduceBench,
} from "../../../bench/allreduce.js";
import { fitAllReduce, formatAllReduceFit } from "../../../bench/allreduce-fit.js";
import { interruptible } from "../interruptible.js";
import { parseCount, parsePositive } from "../numbers.js";

interface Flags {
  readonly ranks: readonly number[];
  readonly rounds: number;
  readonly seconds: number;
  readonly peer: AllReducePeer;
  readonly python: string;
  readonly sizes: readonly number[];
  readonly curve?: true;
  readonly fit?: true;
  readonly json?: string;
}

export function allReduceCommand(): Command {
  return new Command("allreduce")
    .description("Time sums of vectors over processes, for sizes from bytes to tens of megabytes.")
    .option("--ranks <list>", "numbers of processes, with commas between", parseRanks, ALL_REDUCE_WORLD_SIZES)
    .option("--rounds <n>", "rings opened of each program, in turn", parseCount, 1)
    .option("--seconds <s>", "how long each size is summed in each round, about", parsePositive, 0.3)
    .addOption(new Option("--peer <peer>", "measure other programs in turn").choices(["none", "gloo", "mpi", "all"]).default("none"))
    .addOption(
      new Option("--sizes <list>", "sizes of the vectors, such as 64K,1M")
        .argParser(parseSizes)
        .default(ALL_REDUCE_SIZES_BYTES, ALL_REDUCE_SIZES_BYTES.map(sizeAsTyped).join(",")),
    )
    .option("--python <path>", "the Python that has PyTorch, for gloo", "/usr/bin/python3")
    .option("--curve", "measure sums through ZeroMQ as well, in plaintext and encrypted: what CURVE costs")
    .option("--fit", "fit the cost model that chooses the algorithm between hosts, instead of comparing")
    .option("--json <file>", "write the figures as JSON")
    .addHelpText("after", "\nExample:\n  $ isoerg bench allreduce --ranks 2,4,8 --peer all --json allreduce.json")
    .action((flags: Flags) => interruptible((signal) => benchAndTell(flags, signal)));
}

async function benchAndTell({ ranks, rounds, seconds, peer, python, sizes, curve, fit, json }: Flags, signal: AbortSignal): Promise<void> {
  const live = process.stderr.isTTY === true;
  const status = (text: string) => live && process.stderr.write(`\r\u001b[K${text}`);
  if (fit) {
    const fitted = await fitAllReduce({
      ...{ worldSizes: ranks, secondsPerSize: seconds, signal },
      onTurn: (turn) => status(`${turn.worldSize} ranks: ${turn.who} ...`),
    });
    status("");
    process.stdout.write(`${formatAllReduceFit(fitted)}\n`);
    if (json !== undefined) writeFileSync(json, `${JSON.stringify(fitted, null, 2)}\n`);
    return;
  }
  const bench = await benchAllReduce({
    ...{ worldSizes: ranks, sizesBytes: sizes, rounds, secondsPerSize: seconds, peer, curve: curve === true, python, signal },
    onMissing: (reason) => process.stderr.write(`left out: ${reason}\n`),
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

const UNITS: Readonly<Record<string, number>> = { "": 1, K: 1024, M: 1024 * 1024 };

function sizeAsTyped(bytes: number): string {
  const unit = ["M", "K"].find((name) => bytes % (UNITS[name] as number) === 0) ?? "";
  return `${bytes / (UNITS[unit] as number)}${unit}`;
}

function parseSizes(text: string): readonly number[] {
  return text.split(",").map((size) => {
    const match = /^(\d+)([KM]?)$/.exec(size.trim());
    const bytes = match ? Number(match[1]) * (UNITS[match[2] as string] as number) : 0;
    if (bytes === 0 || bytes % 4 !== 0)
      throw new InvalidArgumentError(`'${size}' is no size of a vector of float32, such as 256, 64K or 1M.`);
    return bytes;
  });
}
