/**
 * The `tensorflow` engine: @tensorflow/tfjs-node-gpu or @tensorflow/tfjs-node, where one of them could be installed (both
 * download libtensorflow from outside the package registry, so neither is required). They differ from the other engines in
 * one way that matters here: a convolution knows only "valid" and "same", so images are padded first.
 */

import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { IsoergError } from "../util/error.js";
import type { Engine } from "./engine.js";
import { hostMemory } from "./host-memory.js";
import { type EngineOps, registerOps } from "./ops.js";
import { portableOps } from "./portable.js";

type Shape4D = [number, number, number, number];

/** What is read of tfjs-node's backend; its types are not there where it is not installed. */
interface NodeBackend {
  readonly isGPUPackage?: boolean;
  readonly binding?: { readonly TF_Version?: string };
}

const packages = ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"];

/** Starts TensorFlow's native library. Throws IsoergError ENGINE where it is not installed or has no such device. */
export async function startTensorflow({ device, threads }: { device: string; threads: number }): Promise<Engine> {
  const name = installed();
  const gpu = /^cuda(?::(\d+))?$/.exec(device);
  // The library reads these when it is loaded.
  if (gpu?.[1] !== undefined) process.env.CUDA_VISIBLE_DEVICES = gpu[1];
  if (device === "cpu") process.env.CUDA_VISIBLE_DEVICES = "";
  process.env.TF_NUM_INTRAOP_THREADS = String(threads);
  process.env.TF_CPP_MIN_LOG_LEVEL ??= "2";
  await import(name);
  tf.enableProdMode();
  if (!(await tf.setBackend("tensorflow"))) {
    throw new IsoergError("ENGINE", `engine tensorflow: ${name} is installed but its backend does not start`, {
      hint: "on Node 23 and newer it cannot (tfjs issue 8609): use Node 20 or 22, or --engine torch",
    });
  }
  const backend = tf.backend() as NodeBackend;
  if (gpu && backend.isGPUPackage !== true) {
    throw new IsoergError("ENGINE", `engine tensorflow: ${name} has no GPU support, but the device is ${device}`, {
      hint: "install @tensorflow/tfjs-node-gpu, or take --engine torch",
    });
  }
  registerOps("tensorflow", tensorflowOps);
  return {
    name: "tensorflow",
    device: gpu ? device : "cpu",
    threads,
    version: `${name} with TensorFlow ${backend.binding?.TF_Version ?? "of unknown version"}`,
    bf16: { supported: false, fast: false },
    why: "TensorFlow's native library is installed",
    memory: hostMemory,
  };
}

/** The package whose native library is there. A package may lie in node_modules without it: its install script fetches it. */
function installed(): string {
  const { resolve } = createRequire(import.meta.url);
  let withoutLibrary: string | undefined;
  for (const name of packages) {
    try {
      if (hasLibrary(dirname(resolve(`${name}/package.json`)))) return name;
      withoutLibrary ??= name;
    } catch {
      // not there: the next one
    }
  }
  const source = "it downloads libtensorflow from storage.googleapis.com";
  if (withoutLibrary !== undefined) {
    throw new IsoergError("ENGINE", `engine tensorflow: ${withoutLibrary} is installed without its native library`, {
      hint: `npm rebuild ${withoutLibrary} (${source})`,
    });
  }
  throw new IsoergError("ENGINE", "engine tensorflow: neither @tensorflow/tfjs-node-gpu nor @tensorflow/tfjs-node is installed", {
    hint: `npm ci --include=optional, then npm rebuild ${packages[0]} (${source})`,
  });
}

function hasLibrary(folder: string): boolean {
  const lib = join(folder, "lib");
  return existsSync(lib) && readdirSync(lib).some((api) => existsSync(join(lib, api, "tfjs_binding.node")));
}

/** The portable operations for a backend whose convolutions know no padding in pixels. */
export const tensorflowOps: EngineOps = {
  ...portableOps,

  conv2d(x, filter, bias, { stride, padding }) {
    return tf.tidy(() => {
      const y = tf.conv2d(padded(x, padding), filter as Tensor4D, stride, "valid");
      return bias === null ? y : tf.add<Tensor4D>(y, bias);
    });
  },

  conv2dInputGrad(dy, filter, inputShape, { stride, padding }) {
    const [batch, height, width, channels] = inputShape as Shape4D;
    return tf.tidy(() => {
      const whole: Shape4D = [batch, height + 2 * padding, width + 2 * padding, channels];
      const dPadded = tf.conv2dTranspose(dy, filter as Tensor4D, whole, stride, "valid");
      return padding === 0 ? dPadded : tf.slice(dPadded, [0, padding, padding, 0], [batch, height, width, channels]);
    });
  },

  conv2dFilterGrad(x, dy, filterShape, { stride, padding }) {
    return tf.tidy(() => portableOps.conv2dFilterGrad(padded(x, padding), dy, filterShape, { stride, padding: 0 }));
  },
};

function padded(x: Tensor4D, padding: number): Tensor4D {
  if (padding === 0) return x;
  const side: [number, number] = [padding, padding];
  return tf.pad(x, [[0, 0], side, side, [0, 0]]);
}
