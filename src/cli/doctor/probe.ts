/**
 * Starts one engine and tells how it went. `isoerg doctor` runs this file as a process of its own for each engine, so that a
 * native library that crashes is a line in the report and not the end of it: `node probe.js ENGINE DEVICE THREADS` writes one
 * line of JSON.
 */
import { pathToFileURL } from "node:url";
import { startEngine } from "../../engine/choose.js";
import type { EngineName } from "../../engine/engine.js";
import { measurePeak } from "../../engine/peak.js";
import { type SelfTest, selfTest } from "../../engine/self-test.js";
import { IsoergError } from "../../util/error.js";

export type EngineReport =
  | {
      readonly name: EngineName;
      readonly works: true;
      readonly version: string;
      readonly device: string;
      readonly threads: number;
      readonly bf16: { readonly supported: boolean; readonly fast: boolean };
      readonly selfTest: SelfTest;
      /** Best matrix product, in GFLOP/s. */
      readonly peakGflops: { readonly fp32: number; readonly bf16: number | null };
      readonly startMs: number;
    }
  | { readonly name: EngineName; readonly works: false; readonly reason: string; readonly hint: string | null };

export interface ProbeOptions {
  readonly device: string;
  readonly threads: number;
}

export async function probeEngine(name: EngineName, { device, threads }: ProbeOptions): Promise<EngineReport> {
  const nowMs = () => performance.now();
  const start = nowMs();
  try {
    const engine = await startEngine({ engine: name, device, threads });
    const startMs = nowMs() - start;
    const tested = await selfTest(engine);
    const peak = { budgetMs: 400, nowMs };
    const peakGflops = {
      fp32: measurePeak({ precision: "fp32", ...peak }),
      bf16: engine.bf16.supported ? measurePeak({ precision: "bf16", ...peak }) : null,
    };
    const { version, bf16 } = engine;
    return { name, works: true, version, device: engine.device, threads: engine.threads, bf16, selfTest: tested, peakGflops, startMs };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { name, works: false, reason, hint: error instanceof IsoergError ? (error.hint ?? null) : null };
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [name, device = "cpu", threads = "1"] = process.argv.slice(2);
  const report = await probeEngine(name as EngineName, { device, threads: Number(threads) });
  process.stdout.write(`${JSON.stringify(report)}\n`);
}
