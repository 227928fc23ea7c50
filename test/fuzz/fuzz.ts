/**
 * Runs one parser on many inputs and holds it to four promises: it refuses only with an error for people, it accepts only what stands up to
 * the target's own check, it answers within the deadline, and it keeps no more memory than an input of that size deserves.
 *
 * A parser that never returns would take the test runner with it: a thread of its own watches the clock, writes which input it is, and
 * ends the process.
 */
import { Worker } from "node:worker_threads";
import { type ErrorCode, IsoergError } from "../../src/util/error.js";
import { type InputKind, mutate } from "./mutate.js";
import { createRandom } from "./random.js";

export interface Target {
  readonly name: string;
  readonly kind: InputKind;
  /** What a refusal may be. */
  readonly refuses: readonly ErrorCode[];
  /** A hash or the like seals it: whatever was changed is refused. */
  readonly sealed?: true;
  /** Of the full run's 100,000 inputs, relative to the other targets. */
  readonly share: number;
  /** Sound inputs; each must be accepted as it is. */
  seeds(): Promise<readonly Uint8Array[]> | readonly Uint8Array[];
  /** Parses, and checks what was accepted: throws an IsoergError to refuse, anything else is a finding. */
  read(input: Uint8Array): Promise<void> | void;
}

export interface Findings {
  /** Of mutated inputs, as `refused`. */
  readonly accepted: number;
  readonly refused: number;
  /** Sentences with target, seed and index, and the beginning of the input. */
  readonly findings: readonly string[];
}

/** One input may take so long on a busy machine; a sound parser takes about a millisecond. */
const DEADLINE_MS = 2_000;
/** After this the watcher ends the process. */
const HANG_MS = 20_000;
/** Inputs have a few KiB; whoever keeps more than this has believed a number in one. */
const MAX_KEPT_BYTES = 64 * 2 ** 20;

const WATCHER = `
const { parentPort, workerData } = require("node:worker_threads");
const { writeSync } = require("node:fs");
const beat = new Int32Array(workerData.beat);
let seen = -1;
for (;;) {
  const now = Atomics.load(beat, 0);
  if (now === -1) break;
  if (now === seen && Atomics.wait(beat, 0, now, workerData.hangMs) === "timed-out") {
    writeSync(2, "fuzz: " + workerData.name + " hangs on input " + now + " of seed " + workerData.seed + "\\n");
    process.kill(process.pid, "SIGKILL");
  }
  seen = Atomics.load(beat, 0);
}
`;

export async function fuzz(target: Target, { count, seed }: { count: number; seed: number }): Promise<Findings> {
  const seeds = (await target.seeds()).map((seed) => new Uint8Array(seed)); // a Buffer's slice would be the seed itself
  const beat = new Int32Array(new SharedArrayBuffer(4));
  const watcher = new Worker(WATCHER, { eval: true, workerData: { beat: beat.buffer, name: target.name, seed, hangMs: HANG_MS } });
  const findings: string[] = [];
  let accepted = 0;
  let refused = 0;
  try {
    for (let index = -seeds.length; index < count && findings.length < 5; index++) {
      Atomics.store(beat, 0, Math.max(0, index));
      Atomics.notify(beat, 0);
      const input = index < 0 ? (seeds[index + seeds.length] as Uint8Array) : inputOf(target.kind, seeds, seed, index);
      const found = await tryOne(target, input);
      if (found === "accepted") accepted += index < 0 ? 0 : 1;
      else if (found === "refused" && index >= 0) refused++;
      else findings.push(describe(target, seed, index, input, found === "refused" ? "a sound input was refused" : found));
    }
  } finally {
    Atomics.store(beat, 0, -1);
    Atomics.notify(beat, 0);
    await watcher.terminate();
  }
  return { accepted, refused, findings };
}

/** The `index`th input of a seed; by itself, so that a finding is repeated without those before it. */
export function inputOf(kind: InputKind, seeds: readonly Uint8Array[], seed: number, index: number): Uint8Array {
  const random = createRandom(Math.imul(seed, 0x9e3779b1) ^ index);
  return mutate(random.pick(seeds), kind, seeds, random);
}

async function tryOne(target: Target, input: Uint8Array): Promise<string> {
  const bytesBefore = keptBytes();
  const begin = performance.now();
  let outcome: string;
  try {
    const copy = input.slice();
    await target.read(input);
    outcome = Buffer.compare(copy, input) === 0 ? "accepted" : "the input was written to";
  } catch (error) {
    const isRefusal = error instanceof IsoergError && target.refuses.includes(error.code);
    outcome = isRefusal ? "refused" : `${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
  const ms = performance.now() - begin;
  if (ms > DEADLINE_MS) return `it took ${Math.round(ms)} ms`;
  const bytes = keptBytes() - bytesBefore;
  return bytes > MAX_KEPT_BYTES ? `it took ${Math.round(bytes / 2 ** 20)} MiB for an input of ${input.length} bytes` : outcome;
}

function keptBytes(): number {
  const { arrayBuffers, heapUsed } = process.memoryUsage();
  return arrayBuffers + heapUsed;
}

function describe(target: Target, seed: number, index: number, input: Uint8Array, what: string): string {
  const start = Buffer.from(input.subarray(0, 240));
  const shown = target.kind === "bytes" ? start.toString("hex") : JSON.stringify(start.toString("utf8"));
  return `${target.name}, seed ${seed}, input ${index}, ${input.length} bytes: ${what}\n  ${shown}`;
}
