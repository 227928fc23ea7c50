/**
 * Starts the engine that was asked for or, for `auto`, the first of torch, tensorflow, wasm and cpu that works here: the
 * order of their speed. Each is imported only when it is tried, so a missing optional library costs nothing.
 *
 * An engine that was asked for by name is never replaced by another. For `auto`, every engine that was passed over is named
 * with its reason in `why`.
 */
import { IsoergError } from "../util/error.js";
import type { Engine, EngineName, EngineOptions } from "./engine.js";

type Start = (options: EngineOptions) => Promise<Engine>;

const starts: Readonly<Record<EngineName, Start>> = {
  torch: async ({ device, threads }) => (await import("./torch/start.js")).startTorch({ device, threads }),
  tensorflow: async ({ device, threads }) => (await import("./tensorflow.js")).startTensorflow({ device, threads }),
  wasm: async ({ device }) => onlyOnCpu("wasm", device, async () => (await import("./wasm.js")).startWasm()),
  cpu: async ({ device }) => onlyOnCpu("cpu", device, async () => (await import("./cpu.js")).startCpu()),
};

/** From the fastest to the slowest. */
export const enginesBySpeed: readonly EngineName[] = ["torch", "tensorflow", "wasm", "cpu"];

/** Starts an engine and makes it the one that TensorFlow.js uses in this thread. Throws IsoergError ENGINE. */
export async function startEngine(options: EngineOptions): Promise<Engine> {
  if (options.engine !== "auto") {
    const engine = await start(options.engine, options);
    return { ...engine, why: "asked for by name" };
  }
  const passedOver: string[] = [];
  for (const name of enginesBySpeed) {
    try {
      const engine = await start(name, options);
      const others = passedOver.length > 0 ? ` (${passedOver.join("; ")})` : "";
      return { ...engine, why: `the fastest engine that works here${others}` };
    } catch (error) {
      passedOver.push(`no ${name}: ${oneLine(error).replace(`engine ${name}: `, "")}`);
    }
  }
  throw new IsoergError("ENGINE", `no engine works on device ${options.device}: ${passedOver.join("; ")}`, {
    hint: "run `isoerg doctor`; it says what each engine lacks",
  });
}

async function start(name: EngineName, options: EngineOptions): Promise<Engine> {
  try {
    return await starts[name](options);
  } catch (error) {
    if (error instanceof IsoergError) throw error;
    throw new IsoergError("ENGINE", `engine ${name} could not start: ${oneLine(error)}`, {
      hint: "run `isoerg doctor`; it says what the engine lacks",
      cause: error,
    });
  }
}

async function onlyOnCpu(name: EngineName, device: string, begin: () => Promise<Engine>): Promise<Engine> {
  if (device === "cpu") return begin();
  throw new IsoergError("ENGINE", `engine ${name} computes on the cpu only, not on ${device}`, {
    hint: "take --engine torch for a GPU, or --device cpu",
  });
}

function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n", 1)[0] ?? text;
}
