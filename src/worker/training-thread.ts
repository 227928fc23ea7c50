/** The training thread's program, started by `training.ts` as a worker_thread. What it does is in `serve-training.ts`. */
import { workerData } from "node:worker_threads";
import { serveTraining, type TrainingThreadData } from "./serve-training.js";

await serveTraining(workerData as TrainingThreadData);
