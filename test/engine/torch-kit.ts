/** Starting the torch engine in tests, or the reason why it can't be. */
import type { Engine } from "../../src/engine/engine.js";
import { startTorch } from "../../src/engine/torch/start.js";

export function startTestTorch(): Promise<Engine> {
  return startTorch({ device: "cpu", threads: 1 });
}

/** Null where the engine starts here. */
export async function torchMissing(): Promise<string | null> {
  try {
    await startTestTorch();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
