/**
 * The `wasm` engine: TensorFlow.js's WebAssembly backend (XNNPACK, SIMD, one thread under Node), with the kernels that training
 * needs and it lacks or has slow. It runs wherever Node runs; about a tenth of the speed of `torch`.
 */
import { createRequire } from "node:module";
import { dirname, sep } from "node:path";
import { setWasmPaths, version_wasm } from "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import { IsoergError, invariant } from "../util/error.js";
import type { Engine } from "./engine.js";
import { hostMemory } from "./host-memory.js";
import { registerOps } from "./ops.js";
import { portableOps } from "./portable.js";
import { groupNormalisation } from "./wasm/group-norm.js";
import { heapView } from "./wasm/heap.js";
import { registerKernels } from "./wasm/kernels.js";

registerKernels();

registerOps("wasm", {
  ...portableOps,
  ...groupNormalisation,

  conv2d(x, filter, bias, { stride, padding }) {
    const geometry = { x, filter: filter as tf.Tensor4D, strides: stride, pad: padding };
    return tf.fused.conv2d(bias === null ? geometry : { ...geometry, bias });
  },

  spatialMean(x) {
    const [batch, height, width, channels] = x.shape;
    return tf.tidy(() => tf.reshape(tf.avgPool(x, [height, width], 1, "valid"), [batch, channels]));
  },

  readInto(x, target) {
    invariant(x.dtype === "float32" && x.size === target.length, `readInto of ${x.dtype} [${x.shape}] into ${target.length} floats`);
    target.set(heapView(x));
  },
});

export async function startWasm(): Promise<Engine> {
  setWasmPaths(dirname(createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm")) + sep);
  tf.enableProdMode(); // only silences TensorFlow.js's advice about other backends
  if (!(await tf.setBackend("wasm"))) {
    throw new IsoergError("ENGINE", "engine wasm: TensorFlow.js could not start its wasm backend", {
      hint: "run `npm ci` again; the folder node_modules/@tensorflow/tfjs-backend-wasm/dist must hold the .wasm files",
    });
  }
  const simd = await tf.env().getAsync("WASM_HAS_SIMD_SUPPORT");
  return {
    name: "wasm",
    device: "cpu",
    threads: 1,
    version: `tfjs ${version_wasm}${simd ? " with SIMD" : ""}`,
    bf16: { supported: false, fast: false },
    why: "WebAssembly, which every machine with Node has",
    memory: hostMemory,
  };
}
