/** The limits of a training thread mean what they are meant to: V8's space for new objects stays small, the rest of the heap grows. */
import { execFileSync } from "node:child_process";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { trainingProcessFlags, trainingThreadLimits } from "../../src/worker/thread-limits.js";

/** Keeps enough alive for long enough that the space for new objects grows as far as it may; tells both spaces' sizes in bytes. */
const program = `
  const { getHeapSpaceStatistics } = require("node:v8");
  const kept = [];
  let largest = 0;
  const sizeOf = (name) => getHeapSpaceStatistics().find(({ space_name }) => space_name === name).space_size;
  for (let i = 0; i < 400_000; i++) {
    kept.push({ i, next: [i, i + 1, i + 2, i + 3] });
    if (i % 1000 === 0) largest = Math.max(largest, sizeOf("new_space"));
  }
  const answer = { newSpace: largest, oldSpace: sizeOf("old_space"), kept: kept.length };
  const { parentPort } = require("node:worker_threads");
  if (parentPort) parentPort.postMessage(answer);
  else process.stdout.write(JSON.stringify(answer));
`;

interface Answer {
  readonly newSpace: number;
  readonly oldSpace: number;
}

function inThread(limited: boolean): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(program, { eval: true, ...(limited && { resourceLimits: trainingThreadLimits }) });
    thread.once("message", resolve);
    thread.once("error", reject);
  });
}

const inProcess = (flags: readonly string[]) =>
  JSON.parse(execFileSync(process.execPath, [...flags, "-e", program], { encoding: "utf8" })) as Answer;

describe("the heap of a training thread", () => {
  it("holds at most two halves of 4 MiB of new objects, and as much in all as it needs", async () => {
    for (const [limited, free] of [
      [await inThread(true), await inThread(false)],
      [inProcess(trainingProcessFlags), inProcess([])],
    ] as const) {
      expect(limited.newSpace).toBeLessThanOrEqual(2 * 4 * 2 ** 20);
      expect(free.newSpace).toBeGreaterThan(limited.newSpace);
      expect(limited.oldSpace).toBeGreaterThan(20e6);
    }
  });
});
