/** The training thread as the link holds it: it is woken for every reply, and its death, however it comes, is told once. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { packageRoot } from "../../src/util/package.js";
import { AsyncEnd, createChannel } from "../../src/worker/channel.js";
import { Training } from "../../src/worker/training.js";

const engine = { engine: "cpu", device: "cpu", threads: 1 } as const;

/** A thread's program from its source. It runs beside the compiled program, since threads take no TypeScript. */
function program(source: string): URL {
  const compiled = pathToFileURL(join(packageRoot, "dist", "src", "worker", "channel.js"));
  return new URL(
    `data:text/javascript,${encodeURIComponent(`import { workerData } from "node:worker_threads"; import { BlockingEnd } from "${compiled}"; ${source}`)}`,
  );
}

describe("the channel", () => {
  test("no reply is missed, whenever it comes", async () => {
    const { training, link } = createChannel();
    const numRequests = 3_000;
    const source = `
      const end = new BlockingEnd(workerData);
      for (let i = 0; i < ${numRequests}; i++) {
        end.post({ note: i });
        const reply = end.request({ ask: i });
        if (reply !== 2 * i) throw new Error("reply " + reply + " to " + i);
      }
      end.close();`;
    const seen: number[] = [];
    const end = new AsyncEnd<{ note?: number; ask?: number }, number>(link, ({ note, ask }) => {
      if (note !== undefined) seen.push(note);
      if (ask === undefined) return;
      // At once, after microtasks, and from a later turn of the event loop.
      if (ask % 3 === 0) end.reply(2 * ask);
      else if (ask % 3 === 1) void Promise.resolve().then(() => end.reply(2 * ask));
      else setImmediate(() => end.reply(2 * ask));
    });
    const thread = new Worker(program(source), { workerData: training, transferList: [training.port] });
    const code = await new Promise((resolve, reject) => thread.once("error", reject).once("exit", resolve));
    await end.closed;
    expect(code).toBe(0);
    expect(seen).toEqual(Array.from({ length: numRequests }, (_, i) => i));
  });
});

describe("the training thread's end", () => {
  test("its last words are heard, although it ends right after them", async () => {
    const training = new Training({
      engine,
      program: program(
        `const end = new BlockingEnd(workerData.channel); end.post({ kind: "failed", reason: "no such layer", hint: "another model", code: "CONFIG" }); end.close();`,
      ),
    });
    expect(await training.started).toBeNull();
    expect(await training.ended).toEqual({ kind: "failed", reason: "no such layer", hint: "another model", code: "CONFIG" });
  });

  test.each([
    ["an error that nobody catches", `throw new Error("bad luck")`, "the training thread broke: bad luck"],
    ["an exit", "process.exit(3)", "the training thread ended with 3"],
  ])("%s is a failure with its reason", async (_name, source, reason) => {
    const training = new Training({
      engine,
      program: program(`const end = new BlockingEnd(workerData.channel); end.post({ kind: "started", engine: "none" }); ${source}`),
    });
    expect(await training.ended).toMatchObject({ kind: "failed", reason });
  });

  test("a thread that sleeps for a reply can be ended", async () => {
    const training = new Training({
      engine,
      program: program(
        `const end = new BlockingEnd(workerData.channel); end.post({ kind: "started", engine: "none" }); end.request({ kind: "briefing" });`,
      ),
    });
    expect(await training.started).toBe("none");
    await training.terminate();
    expect(await training.ended).toMatchObject({ kind: "failed" });
  });
});
