/** A worker process under test: `isoerg worker` with faults. Its options are one JSON argument; faults at run time come on stdin. */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import pino from "pino";
import { exitCodeOf, IsoergError } from "../../dist/src/util/error.js";
import { runWorker } from "../../dist/src/worker/worker.js";
import { encodeFault } from "./inject.mjs";

const { id, addressFile, log, engine, faults, reconnectMs } = JSON.parse(process.argv[2]);
const cell = new SharedArrayBuffer(4);
createInterface({ input: process.stdin }).on("line", (line) => Atomics.store(new Int32Array(cell), 0, encodeFault(JSON.parse(line))));
const leave = new AbortController();
process.on("SIGTERM", () => leave.abort());
const whereabouts = async () => {
  try {
    return [JSON.parse(await readFile(addressFile, "utf8")).address];
  } catch {
    return [];
  }
};
const destination = pino.destination({ dest: log, sync: true, append: true, mkdir: true });
try {
  const stop = await runWorker({
    whereabouts,
    workerId: id,
    incarnation: randomUUID(),
    engine: { engine, device: "cpu", threads: 1 },
    connectTimeoutMs: 120_000,
    reconnectTimeoutMs: reconnectMs,
    signal: leave.signal,
    log: pino({ base: { worker: id, pid: process.pid } }, destination),
    program: new URL("./thread.mjs", import.meta.url),
    programData: { faults, cell },
  });
  if (leave.signal.aborted) process.exit(143);
  if (stop.outcome === "failed") throw new IsoergError(stop.code === "" ? "STOPPED" : stop.code, stop.reason);
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(exitCodeOf(error));
}
