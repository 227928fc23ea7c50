/**
 * One process of `isoerg evaluate --workers N`: is told a job, then chunk after chunk. It holds nothing that its parent could miss:
 * results are on disk before they are told. Without its parent it ends.
 */
import { startEngine } from "../../engine/choose.js";
import { type ChunkRunner, openChunkRunner } from "../../evaluate/robustness/chunk-runner.js";
import { IsoergError } from "../../util/error.js";
import type { FromProcess, ToProcess } from "./processes.js";

/** Passes are told together, so often at most. */
const TELL_EVERY_MS = 200;

// Ctrl-C reaches the whole group; the parent decides.
process.on("SIGINT", () => undefined);
process.on("disconnect", () => process.exit(1));

const say = (message: FromProcess): void => void process.send?.(message);

let runner: ChunkRunner | undefined;
let untold = 0;
let toldAt = 0;

process.on("message", (message: ToProcess) => {
  handle(message).catch((error: unknown) => {
    const { code, hint } = error instanceof IsoergError ? error : { code: "ENGINE" as const, hint: undefined };
    const text = error instanceof IsoergError ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error);
    say({ kind: "failed", code, message: text, ...(hint !== undefined && { hint }) });
  });
});

async function handle(message: ToProcess): Promise<void> {
  switch (message.kind) {
    case "job":
      await startEngine(message.job.engine);
      runner = await openChunkRunner(message.job);
      say({ kind: "ready" });
      return;
    case "chunk":
      await runner?.run(message.from, {
        onSaved: (chunk) => say({ kind: "saved", chunk }),
        onTask: (from, id) => {
          tellPasses(from);
          say({ kind: "task", from, id });
        },
        onPasses: (from, cost) => {
          untold += cost;
          if (performance.now() - toldAt >= TELL_EVERY_MS) tellPasses(from);
        },
      });
      say({ kind: "done", from: message.from });
      return;
    default:
      message satisfies never;
  }
}

function tellPasses(from: number): void {
  toldAt = performance.now();
  if (untold > 0) say({ kind: "passes", from, cost: untold });
  untold = 0;
}
