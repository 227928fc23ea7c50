/**
 * Runs of real processes: the compiled program, a small data set on disk, a run's own status to wait on. Nothing sleeps: a
 * test waits for a step that the coordinator says was committed, then does its harm.
 */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, watch } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { stringify } from "yaml";
import { prepareDataset } from "../../src/data/prepare.js";
import { packageRoot } from "../../src/util/package.js";
import { callServerStream, openClient } from "../../src/wire/client.js";
import type { RunStatus } from "../../src/wire/messages.js";
import { runControl } from "../../src/wire/proto.js";
import { NUM_CLASSES, SHAPE, smallConfig, smallSamples } from "./small-run.js";

const PROGRAM = join(packageRoot, "dist", "src", "main.js");
const NUM_TRAIN = 120;
const NUM_TEST = 12;

/** A data set and an experiment on it: 12 steps an epoch. @returns the experiment's file. */
export async function prepareExperiment(
  folder: string,
  over: Record<string, unknown> = {},
  options: { readonly shardBytes?: number } = {},
): Promise<string> {
  const all = smallSamples(NUM_TRAIN + NUM_TEST);
  const size = SHAPE.height * SHAPE.width * SHAPE.channels;
  const part = (from: number, to: number) => ({ images: all.images.slice(from * size, to * size), labels: all.labels.slice(from, to) });
  const data = join(folder, "data");
  await prepareDataset(
    {
      name: "coloured-noise",
      summary: "noise whose class shows in the brightness of a channel",
      shape: SHAPE,
      classes: Array.from({ length: NUM_CLASSES }, (_, i) => `class ${i}`),
      numSamples: { train: NUM_TRAIN, test: NUM_TEST },
      origins: [
        {
          id: "memory",
          obtain: async () => "",
          async *read() {
            yield { split: "train" as const, samples: part(0, NUM_TRAIN) };
            yield { split: "test" as const, samples: part(NUM_TRAIN, NUM_TRAIN + NUM_TEST) };
          },
        },
      ],
    },
    { out: data, cacheFolder: join(folder, "cache"), ...options },
  );
  const config = smallConfig({ epochs: 3, checkpoint: { everySteps: 10 }, data: { path: data, batchSize: 10, shuffleBlock: 16 }, ...over });
  const file = join(folder, "small.yaml");
  await writeFile(file, stringify(config));
  return file;
}

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly error: string;
}

export interface RunningProgram {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
}

/** Starts `isoerg` with these words. */
export function isoerg(...words: string[]): RunningProgram {
  return isoergWith({}, ...words);
}

/** The same with more in its environment. */
export function isoergWith(env: Readonly<Record<string, string>>, ...words: string[]): RunningProgram {
  return start({ env: { ...process.env, ...env } }, words);
}

/** The same in another folder. */
export function isoergIn(cwd: string, ...words: string[]): RunningProgram {
  return start({ cwd }, words);
}

function start(how: Pick<SpawnOptions, "cwd" | "env">, words: readonly string[]): RunningProgram {
  const child = spawn(process.execPath, [PROGRAM, ...words], { stdio: ["ignore", "pipe", "pipe"], ...how });
  let out = "";
  let error = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    error += text;
  });
  return { process: child, ended: new Promise((resolve) => child.once("close", (code) => resolve({ code, out, error }))) };
}

/** Waits until a run's folder says who leads it. One folder is watched, not what lies below: checkpoints come and go there. */
export async function addressOf(runFolder: string): Promise<string> {
  const file = join(runFolder, "coordinator.json");
  for (;;) {
    const place = existsSync(runFolder) ? runFolder : dirname(runFolder);
    const watcher = watch(place); // before looking, so that no change is missed
    try {
      const changed = once(watcher, "change");
      if (existsSync(file)) {
        const text = await readFile(file, "utf8");
        if (text.endsWith("\n")) return (JSON.parse(text) as { address: string }).address;
      }
      if (place === runFolder || !existsSync(runFolder)) await changed;
    } finally {
      watcher.close();
    }
  }
}

/** Waits until the run's status is as wanted. */
export async function statusWhen(address: string, isWanted: (status: RunStatus) => boolean): Promise<RunStatus> {
  const client = openClient(address);
  const call = callServerStream(client, runControl.watch, {});
  try {
    for await (const status of call as AsyncIterable<RunStatus>) if (isWanted(status)) return status;
    throw new Error("the run ended before it was as wanted");
  } finally {
    call.on("error", () => {}); // its cancellation
    call.cancel();
    client.close();
  }
}

/** Process id of a worker that `isoerg train` started. */
export async function pidOf(runFolder: string, workerId: string): Promise<number> {
  const log = await readFile(join(runFolder, "logs", `worker-${workerId}.jsonl`), "utf8");
  return (JSON.parse(log.trim().split("\n").at(-1) as string) as { pid: number }).pid;
}

/** Resolves when a process that is not our child is gone. Nothing tells of that, so it is looked for. */
export async function whenGone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await setTimeout(20);
  }
}
