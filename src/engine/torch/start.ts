/**
 * Starts the torch engine in this thread: finds or compiles the bridge, loads it, declares the backend and its operations,
 * and makes it the one that TensorFlow.js uses. Each worker thread starts its own.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as tf from "@tensorflow/tfjs-core";
import { IsoergError } from "../../util/error.js";
import type { Engine } from "../engine.js";
import { bridge, openBridge } from "./bridge.js";
import type { BuildModule } from "./libtorch.js";
import { registerTorch, TORCH } from "./register.js";
import { FLOAT } from "./scalar-type.js";
import { fromHost, scope } from "./value.js";

export interface TorchOptions {
  /** `cpu`, `cuda` or `cuda:N`. */
  readonly device: string;
  /** Threads that one operation may use. */
  readonly threads: number;
  /** A bridge that is compiled already; otherwise the one under build/torch is used, or compiled. */
  readonly bridgePath?: string;
}

/** Throws IsoergError ENGINE where there is no libtorch, no compiler, or no such device. */
export async function startTorch(options: TorchOptions): Promise<Engine> {
  const path = options.bridgePath ?? (await builtBridge());
  const device = deviceNumber(options.device);
  const native = openBridge(path, device);
  native.setThreads(Math.max(1, options.threads));
  native.trim(); // libtorch and what it links leave 8 MB of free heap behind when they are loaded
  const about = native.about();
  if (device >= 0) checkCuda(about.cuda !== 0, options.device);
  registerTorch();
  if (!(await tf.setBackend(TORCH))) throw new IsoergError("ENGINE", "engine torch: TensorFlow.js could not start its backend");
  const cpuFlags = device >= 0 ? "" : processorFlags();
  return {
    name: "torch",
    device: options.device,
    threads: about.threads === options.threads ? about.threads : native.about().threads,
    version: `libtorch ${about.version}`,
    bf16: { supported: true, fast: device >= 0 || /\b(avx512_bf16|amx_bf16)\b/.test(cpuFlags) },
    why: "asked for by name",
    memory: () => {
      const { live, bytes, peakBytes } = bridge().memory(device);
      return { numTensors: live, bytes, peakBytes };
    },
  };
}

/** Whether float32 products on a GPU may be rounded to TF32; off unless asked for. */
export function allowTensorFloat32(allow: boolean): void {
  bridge().setTensorFloat32(allow ? 1 : 0);
}

/** ISOERG_TORCH_BRIDGE names one that was compiled elsewhere: an image needs neither a compiler nor headers then. */
async function builtBridge(): Promise<string> {
  const named = process.env.ISOERG_TORCH_BRIDGE;
  if (named) {
    if (existsSync(named)) return resolve(named);
    throw new IsoergError("ENGINE", `engine torch: ISOERG_TORCH_BRIDGE names ${named}, which does not exist`, {
      hint: "unset it, or name a bridge.node",
    });
  }
  const { buildBridge } = await buildModule();
  const built = buildBridge();
  if (built.ok) return built.path;
  throw new IsoergError("ENGINE", `engine torch: ${built.reason}`, { hint: built.hint });
}

/** build.mjs is not compiled, so it lies in src/ also when this file runs from dist/. */
export async function buildModule(): Promise<BuildModule> {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const candidate = join(folder, "src", "engine", "torch", "build.mjs");
    if (existsSync(candidate)) return (await import(pathToFileURL(candidate).href)) as BuildModule;
    if (folder === dirname(folder)) throw new IsoergError("ENGINE", "engine torch: src/engine/torch/build.mjs is missing");
    folder = dirname(folder);
  }
}

function deviceNumber(device: string): number {
  if (device === "cpu") return -1;
  const match = /^cuda(?::(\d+))?$/.exec(device);
  if (!match) {
    throw new IsoergError("ENGINE", `engine torch: no device is called '${device}'`, { hint: "take cpu, cuda or cuda:N" });
  }
  return Number(match[1] ?? 0);
}

/** A first allocation on the device: it fails now, with a clear word, rather than in the middle of a step. */
function checkCuda(available: boolean, device: string): void {
  const hint = "check `nvidia-smi`, install a libtorch built for CUDA (set LIBTORCH to its folder), or take --device cpu";
  if (!available) throw new IsoergError("ENGINE", `engine torch: this libtorch sees no CUDA device, so not ${device}`, { hint });
  try {
    allowTensorFloat32(false);
    bridge().benchmarkConvolutions();
    scope(() => fromHost(new Float32Array(1), FLOAT, [1]));
  } catch (error) {
    throw new IsoergError("ENGINE", `engine torch: ${device} can't be used: ${error instanceof Error ? error.message : String(error)}`, {
      hint,
      cause: error,
    });
  }
}

function processorFlags(): string {
  try {
    return /^flags\s*:.*$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[0] ?? "";
  } catch {
    return ""; // no such file on this system: then nothing is known of the processor
  }
}
