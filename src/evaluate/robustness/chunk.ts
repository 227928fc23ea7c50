/**
 * One chunk of samples through all tasks: the unit that is computed by one process, saved after each task, and never split.
 * What a chunk holds follows from the batch size alone, so the number of processes changes no bit of any sample's result.
 */
import { z } from "zod";
import { invariant } from "../../util/error.js";
import { certifySample } from "../certify/smoothing.js";
import { answersOf, attacks, logitsOfSlice, type Slice, selectRows } from "./attacks.js";
import { checkSanity, lossSurface, sensitivity, temperatureAttack, transferredAttack } from "./probes.js";
import type { Task } from "./tasks.js";

/** One digit a sample. */
const bits = z.string().regex(/^[01]*$/);

const taskResultSchema = z.object({
  /** Samples that the task looked at. */
  attacked: bits,
  /** Of those: 1 where the sample withstood, or where what was looked for was not found. */
  stands: bits,
  /** What else it found, a row for each sample that it looked at. */
  values: z.array(z.array(z.number())).optional(),
  ms: z.number(),
});

export const chunkSchema = z.object({
  format: z.literal("isoerg-robustness-chunk"),
  /** Of all that decides the results; a chunk of another evaluation is never used. */
  fingerprint: z.string(),
  /** Samples from..to-1 of the data set. */
  from: z.int().nonnegative(),
  to: z.int().nonnegative(),
  /** Correctly classified without attack; null before that is known. */
  clean: bits.nullable(),
  tasks: z.record(z.string(), taskResultSchema),
});

export type Chunk = z.infer<typeof chunkSchema>;
export type TaskResult = z.infer<typeof taskResultSchema>;

export function newChunk(fingerprint: string, from: number, to: number): Chunk {
  return { format: "isoerg-robustness-chunk", fingerprint, from, to, clean: null, tasks: {} };
}

/** Rows of the chunk that a task looks at, given what is known. */
export function rowsFor(task: Task, chunk: Chunk, tasks: readonly Task[]): number[] {
  const { clean } = chunk;
  invariant(clean !== null, "a chunk's clean samples come first");
  const all = [...clean].map((_, row) => row);
  if (task.kind === "certify") return all.filter((row) => (chunk.from + row) % task.every === 0);
  const correct = all.filter((row) => clean[row] === "1");
  if (task.kind !== "cascade") return correct.filter((row) => chunk.from + row < task.below);
  const before = tasks.slice(0, tasks.indexOf(task)).filter((earlier) => earlier.kind === "cascade");
  return correct.filter((row) => before.every((earlier) => !fooledIn(chunk, earlier.id, row)));
}

function fooledIn(chunk: Chunk, id: string, row: number): boolean {
  const result = chunk.tasks[id];
  return result?.attacked[row] === "1" && result.stands[row] === "0";
}

export interface ChunkOptions {
  /** Called after each task with all that is known; durable when it resolves. */
  readonly save: (chunk: Chunk) => Promise<void>;
  readonly now: () => number;
  readonly onTask?: (task: Task, chunk: Chunk) => void;
  readonly signal?: AbortSignal;
}

/** Does what is not done yet. `slice` holds all samples of the chunk. */
export async function runChunk(begun: Chunk, slice: Slice, tasks: readonly Task[], options: ChunkOptions): Promise<Chunk> {
  let chunk = begun;
  if (chunk.clean === null) {
    const answers = answersOf(logitsOfSlice(slice), slice.numClasses);
    chunk = { ...chunk, clean: Array.from(slice.labels, (label, row) => (answers[row] === label ? "1" : "0")).join("") };
  }
  for (const task of tasks) {
    if (chunk.tasks[task.id]) continue;
    options.signal?.throwIfAborted();
    options.onTask?.(task, chunk);
    const began = options.now();
    const rows = rowsFor(task, chunk, tasks);
    const { stands, values } = rows.length > 0 ? runTask(task, selectRows(slice, rows)) : { stands: [], values: undefined };
    const digits = (digitOf: (place: number) => string): string =>
      Array.from(slice.labels, (_, row) => (rows.includes(row) ? digitOf(rows.indexOf(row)) : "0")).join("");
    const result: TaskResult = {
      attacked: digits(() => "1"),
      stands: digits((place) => (stands[place] ? "1" : "0")),
      ...(values && { values }),
      ms: Math.round(options.now() - began),
    };
    chunk = { ...chunk, tasks: { ...chunk.tasks, [task.id]: result } };
    await options.save(chunk);
  }
  return chunk;
}

interface Found {
  readonly stands: readonly boolean[];
  readonly values?: number[][] | undefined;
}

function runTask(task: Task, slice: Slice): Found {
  switch (task.kind) {
    case "cascade":
    case "probe":
    case "curve":
      return { stands: Array.from(attacks[task.attack].run(slice, task.budget, task.effort), (fooled) => !fooled) };
    case "temperature":
      return { stands: Array.from(temperatureAttack(slice, task.budget, task.steps), (fooled) => !fooled) };
    case "transfer":
      return { stands: Array.from(transferredAttack(slice, task.budget, task.steps), (fooled) => !fooled) };
    case "sanity":
      return checkSanity(slice);
    case "surface":
      return lossSurface(slice, task.budget);
    case "sensitivity":
      return sensitivity(slice, task.budget, task.steps);
    case "certify": {
      const values = Array.from(slice.labels, (label, row) => certifySample(selectRows(slice, [row]), label, task));
      return { stands: values.map(([, , , , correct]) => correct === 1), values };
    }
    default:
      return task satisfies never;
  }
}
