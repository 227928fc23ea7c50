/** The training thread's program, started by `training.ts` as a worker_thread. What it does is in `serve-training.ts`. */
import { workerData } from "node:worker_threads";
import { serveTraining, type TrainingThreadData } from "./serve-training.js";
import { TraceFile, traceLink } from "./trace.js";

const data = workerData as TrainingThreadData;
const trace = data.trace ? new TraceFile(data.trace.path, data.trace) : null;
await serveTraining(data, trace ? (link) => traceLink(link, trace) : undefined);
trace?.close();
