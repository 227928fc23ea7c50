/** The training thread of a worker under test: the real one, with faults between the loop and its link. */
import { workerData } from "node:worker_threads";
import { serveTraining } from "../../dist/src/worker/serve-training.js";
import { injecting } from "./inject.mjs";

await serveTraining(workerData, injecting(workerData.programData));
