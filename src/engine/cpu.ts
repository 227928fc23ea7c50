/**
 * The `cpu` engine: TensorFlow.js's own kernels in JavaScript. Slow (a hundred times slower than `torch`) and always there:
 * the reference of the tests.
 */
import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import { IsoergError } from "../util/error.js";
import type { Engine } from "./engine.js";
import { hostMemory } from "./host-memory.js";
import { registerOps } from "./ops.js";
import { portableOps } from "./portable.js";

registerOps("cpu", portableOps);

export async function startCpu(): Promise<Engine> {
  tf.enableProdMode(); // only silences TensorFlow.js's advice about other backends
  if (!(await tf.setBackend("cpu"))) {
    throw new IsoergError("ENGINE", "engine cpu: TensorFlow.js could not start its cpu backend", { hint: "run `npm ci` again" });
  }
  return {
    name: "cpu",
    device: "cpu",
    threads: 1,
    version: `tfjs ${tf.version_core}`,
    bf16: { supported: false, fast: false },
    why: "the reference engine in plain JavaScript",
    memory: hostMemory,
  };
}
