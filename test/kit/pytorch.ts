/**
 * PyTorch as an oracle, for tests only: a Python script gets JSON on its standard input and answers with JSON. Arrays travel as
 * base64, float32 on the way in and float64 on the way out. Without an installed PyTorch the comparisons are skipped.
 */
import { spawnSync } from "node:child_process";

/** Where Python is: that of ISOERG_TEST_PYTHON, the system's, the path's. The first with PyTorch is taken. */
const candidates = [process.env.ISOERG_TEST_PYTHON, "/usr/bin/python3", "python3"].filter((path) => path !== undefined);

const python = candidates.find((path) => spawnSync(path, ["-c", "import torch"]).status === 0);

export const hasPyTorch = python !== undefined;

/** Ends a suite's title where it can't run. */
export const pyTorchNote = hasPyTorch ? "" : " (skipped: no Python with PyTorch here)";

export function runPyTorch(script: string, input: unknown, args: readonly string[] = []): unknown {
  if (!python) throw new Error("PyTorch is not installed");
  const { status, stdout, stderr } = spawnSync(python, [script, ...args], {
    input: JSON.stringify(input),
    encoding: "utf8",
    maxBuffer: 2 ** 30,
  });
  if (status !== 0) throw new Error(`${script} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

export function encode(values: Float32Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");
}

export function decode(text: string): Float64Array {
  const bytes = Buffer.from(text, "base64");
  return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}
