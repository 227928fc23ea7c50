/**
 * Counts what the torch engine hands to its library: operators, fused activations, noise, copies from the host and back. It
 * stands between the engine and its bridge, so it is taken away again before anything is timed.
 */
import { bridge } from "../../src/engine/torch/bridge.js";
import type { Native } from "../../src/engine/torch/native.js";

/** Begins to count; the returned function ends it and returns the sum. */
export function countLaunches(): () => number {
  const native = bridge() as Native & Record<string, (...given: unknown[]) => unknown>;
  const counted = Object.keys(native).filter((name) => !isBookkeeping.has(name) && typeof native[name] === "function");
  const originals = new Map(counted.map((name) => [name, native[name] as (...given: unknown[]) => unknown]));
  let count = 0;
  const put = (name: string, value: (...given: unknown[]) => unknown) =>
    Object.defineProperty(native, name, { value, configurable: true, writable: true });
  for (const [name, original] of originals) {
    put(name, (...given) => {
      count++;
      return original(...given);
    });
  }
  return () => {
    for (const [name, original] of originals) put(name, original);
    return count;
  };
}

/** What moves no data and computes nothing. */
const isBookkeeping = new Set([
  "share",
  "operator",
  "string",
  "release",
  "setThreads",
  "setTensorFloat32",
  "benchmarkConvolutions",
  "limitWinograd",
  "dropRecording",
  "trim",
  "resetPeak",
  "memory",
  "about",
  "strides",
]);
