/**
 * How far an evaluation of robustness is and how long it may still take. Counted in model passes of one sample, a forward pass
 * as 1 and an input gradient as 3. What is ahead is not known, since fooled samples are not attacked again: chunks that have
 * not begun are taken to cost what finished ones did. Pure but for the clock that is handed in.
 */
import { attacks } from "./attacks.js";
import { type Chunk, rowsFor } from "./chunk.js";
import { SURFACE_SIDE } from "./probes.js";
import type { Task } from "./tasks.js";

export interface RobustnessProgress {
  /** Of the work, 0 to 1. */
  readonly share: number;
  /** Null before there is anything to judge it by. */
  readonly secondsLeft: number | null;
  /** Samples known to be robust or not, and those robust so far under the attacks that have run. */
  readonly numBegun: number;
  readonly numStanding: number;
  readonly numSamples: number;
  /** What is under way, for people. */
  readonly what: string;
}

export interface ProgressCounter {
  /** A chunk's present state, when it is loaded and after each of its tasks. */
  chunk(chunk: Chunk): void;
  /** A task of a chunk begins. */
  task(from: number, id: string): void;
  /** Passes computed since the last call. */
  passes(from: number, cost: number): void;
  now(): RobustnessProgress;
}

/** Before so long the time left is not told: it would be a guess. */
const LEAST_SECONDS = 2;

/** Cost of a task for one sample that it has to look at to the end. */
export function costOf(task: Task, numClasses: number): number {
  switch (task.kind) {
    case "cascade":
    case "probe":
    case "curve":
      return attacks[task.attack].cost(task.effort, numClasses);
    case "temperature":
    case "transfer":
      return 3 * (task.steps + 1) + 1;
    case "sanity":
      return 5;
    case "surface":
      return SURFACE_SIDE ** 2 + 3;
    case "sensitivity":
      return 3 * (task.steps + 1) + 2;
    case "certify":
      return task.select + task.estimate;
    default:
      return task satisfies never;
  }
}

export function createProgressCounter(options: {
  tasks: readonly Task[];
  numClasses: number;
  numSamples: number;
  now: () => number;
}): ProgressCounter {
  const { tasks, numClasses, numSamples } = options;
  const chunks = new Map<number, Chunk>();
  /** Computed by this program, and of it what the task under way has taken. */
  let computed = 0;
  const underWay = new Map<number, { id: string; cost: number }>();
  const finished = new Map<number, number>();
  let began = Number.NaN;

  /** Ahead in a chunk whose state is known. */
  const ahead = (chunk: Chunk): number => {
    if (chunk.clean === null) return 0;
    let cost = 0;
    for (const task of tasks) {
      if (chunk.tasks[task.id]) continue;
      const whole = rowsFor(task, chunk, tasks).length * costOf(task, numClasses);
      const current = underWay.get(chunk.from);
      cost += current?.id === task.id ? Math.max(whole - current.cost, 0) : whole;
    }
    return cost;
  };

  return {
    chunk(chunk) {
      chunks.set(chunk.from, chunk);
      const current = underWay.get(chunk.from);
      if (current && chunk.tasks[current.id]) {
        finished.set(chunk.from, (finished.get(chunk.from) ?? 0) + current.cost);
        underWay.delete(chunk.from);
      }
    },
    task: (from, id) => void underWay.set(from, { id, cost: 0 }),
    passes(from, cost) {
      if (computed === 0) began = options.now(); // engines that start are no passes
      computed += cost;
      const current = underWay.get(from);
      if (current) current.cost += cost;
    },
    now() {
      const known = [...chunks.values()].filter((chunk) => chunk.clean !== null);
      const numBegun = known.reduce((sum, chunk) => sum + chunk.to - chunk.from, 0);
      const done = known.filter((chunk) => tasks.every((task) => chunk.tasks[task.id]));
      const numDone = done.reduce((sum, chunk) => sum + chunk.to - chunk.from, 0);
      const aheadKnown = known.reduce((sum, chunk) => sum + ahead(chunk), 0);
      const spentDone = done.reduce((sum, chunk) => sum + (finished.get(chunk.from) ?? 0), 0);
      // Chunks that an earlier, interrupted evaluation finished tell nothing of cost here.
      const numDoneHere = done.reduce((sum, chunk) => sum + (finished.has(chunk.from) ? chunk.to - chunk.from : 0), 0);
      const full = tasks.reduce((sum, task) => sum + costOf(task, numClasses), 0);
      const aSample = numDoneHere > 0 ? spentDone / numDoneHere : numBegun > numDone ? (computed + aheadKnown) / numBegun : full;
      const aheadInAll = aheadKnown + (numSamples - numBegun) * aSample;
      const doneInAll = computed + (numDone - numDoneHere) * aSample;
      const seconds = (options.now() - began) / 1000;
      const ids = new Set([...underWay.values()].map(({ id }) => id));
      return {
        share: doneInAll + aheadInAll > 0 ? doneInAll / (doneInAll + aheadInAll) : 0,
        secondsLeft: seconds >= LEAST_SECONDS ? (seconds / computed) * aheadInAll : null,
        numBegun,
        numStanding: known.reduce((sum, chunk) => sum + standing(chunk, tasks), 0),
        numSamples,
        what: [...ids].map((id) => id.replace(/^(cascade|probe|curve):/, "")).join(", "),
      };
    },
  };
}

/** Samples that no attack of the cascade has fooled yet. */
function standing(chunk: Chunk, tasks: readonly Task[]): number {
  const cascade = tasks.filter((task) => task.kind === "cascade");
  return [...(chunk.clean ?? "")].filter((digit, row) => {
    if (digit !== "1") return false;
    return cascade.every(({ id }) => chunk.tasks[id]?.attacked[row] !== "1" || chunk.tasks[id]?.stands[row] === "1");
  }).length;
}
