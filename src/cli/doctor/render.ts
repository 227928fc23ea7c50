/** The report of `isoerg doctor` as text for a terminal: one line a fact, and under what does not work, what to do. */
import type { Libtorch } from "../../engine/torch/libtorch.js";
import type { Diagnosis } from "./examine.js";
import type { EngineReport } from "./probe.js";

export interface RenderOptions {
  readonly color: boolean;
}

export function renderDiagnosis(diagnosis: Diagnosis, { color }: RenderOptions): string {
  const paint = (code: number, text: string) => (color ? `\u001b[${code}m${text}\u001b[0m` : text);
  const heading = (text: string) => paint(1, text);
  const { machine, libtorch } = diagnosis;
  const fact = (name: string, value: string) => `  ${name.padEnd(12)} ${value}`;
  const lines = [
    heading(`isoerg ${diagnosis.isoerg}`),
    fact("node", machine.node),
    fact("system", `${machine.system}; ${machine.platform}`),
    fact(
      "processor",
      `${machine.processor}, ${plural(machine.numCores, "core")}; ${machine.instructions.join(" ") || "no known vector instructions"}`,
    ),
    fact(
      "memory",
      gigabytes(machine.memoryBytes) + (machine.memoryLimitBytes ? `, limited to ${gigabytes(machine.memoryLimitBytes)}` : ""),
    ),
    ...(machine.gpus.length > 0
      ? machine.gpus.map((gpu) => fact("gpu", `${gpu.name}, ${gigabytes(gpu.memoryBytes)}, driver ${gpu.driver}`))
      : [fact("gpu", "none")]),
    fact("libtorch", libtorch.ok ? describeLibtorch(libtorch.libtorch, libtorch.why) : libtorch.reason),
    fact("compiler", diagnosis.compiler ?? "none"),
    "",
    heading("engines, the fastest first"),
    ...diagnosis.engines.flatMap((engine) => describeEngine(engine, paint)),
    "",
    diagnosis.auto === null ? paint(31, "No engine works here.") : `--engine auto takes ${paint(1, diagnosis.auto)}.`,
  ];
  return `${lines.join("\n")}\n`;
}

function describeEngine(engine: EngineReport, paint: (code: number, text: string) => string): string[] {
  const name = engine.name.padEnd(10);
  if (!engine.works) {
    const hint = engine.hint === null ? [] : [paint(36, `    -> ${engine.hint}`)];
    return [`${paint(33, "  -")} ${name} ${engine.reason.replace(`engine ${engine.name}: `, "")}`, ...hint];
  }
  const { selfTest, peakGflops, bf16 } = engine;
  const test = `largest error ${selfTest.worstError.toExponential(0)}`;
  const verdict = selfTest.ok ? test : paint(31, `SELF-TEST FAILED: ${test}, allowed ${selfTest.tolerance}`);
  const halves = peakGflops.bf16 === null ? "" : `, bf16 ${rate(peakGflops.bf16)}${bf16.fast ? "" : " (no instructions for it)"}`;
  return [
    `${selfTest.ok ? paint(32, "  +") : paint(31, "  x")} ${name} ${engine.version}, ${engine.device}, ${plural(engine.threads, "thread")}`,
    `    ${"".padEnd(10)} ${verdict}; matrix products ${rate(peakGflops.fp32)}${halves}`,
  ];
}

function describeLibtorch({ version, kind, libDirs, cuda }: Libtorch, why: string): string {
  const origin = { named: "of a named folder", debian: "of Debian", folder: "of an unpacked folder", python: "of a Python installation" }[
    kind
  ];
  return `${version} ${origin}, ${libDirs.join(" ")}, ${cuda ? "with CUDA" : "without CUDA"} (${why})`;
}

const rate = (gflops: number) => (gflops >= 1000 ? `${(gflops / 1000).toFixed(1)} TFLOP/s` : `${gflops.toPrecision(3)} GFLOP/s`);
const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? "" : "s"}`;
