/** The engines that a suite of engine-independent code runs on: always `cpu` and `wasm`, and `torch` where its bridge is built. */
import * as tf from "@tensorflow/tfjs-core";
import { startEngine } from "../../src/engine/choose.js";
import type { EngineName } from "../../src/engine/engine.js";

export interface TestedEngine {
  readonly name: EngineName;
  /** Why a suite is skipped on it; null where it runs. */
  readonly missing: string | null;
  /** Makes it the current one. */
  use(): Promise<void>;
}

export async function testedEngines(): Promise<TestedEngine[]> {
  const engines: TestedEngine[] = [];
  for (const name of ["cpu", "wasm", "torch"] as const) {
    let missing: string | null = null;
    let backend = "";
    try {
      await startEngine({ engine: name, device: "cpu", threads: 1 });
      backend = tf.getBackend();
    } catch (error) {
      missing = error instanceof Error ? error.message : String(error);
    }
    engines.push({ name, missing, use: async () => void (await tf.setBackend(backend)) });
  }
  return engines;
}

/** A suite's title on an engine. */
export function titleOn(engine: TestedEngine, title: string): string {
  return `${title} on ${engine.name}${engine.missing ? ` (skipped: ${engine.missing})` : ""}`;
}
