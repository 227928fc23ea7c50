/** Gathers the whole report of `isoerg doctor`: the machine, the libtorch that would be linked, and each engine in its own process. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { enginesBySpeed } from "../../engine/choose.js";
import type { EngineName } from "../../engine/engine.js";
import type { BuildModule, LibtorchSearch } from "../../engine/torch/libtorch.js";
import { describeMachine, type Machine } from "../../util/machine.js";
import { packageRoot, packageVersion } from "../../util/package.js";
import type { EngineReport, ProbeOptions } from "./probe.js";

export interface Diagnosis {
  readonly isoerg: string;
  readonly machine: Machine;
  readonly libtorch: LibtorchSearch;
  readonly compiler: string | null;
  readonly engines: readonly EngineReport[];
  /** What `--engine auto` takes. */
  readonly auto: EngineName | null;
}

export async function examine(options: ProbeOptions & { onEngine?: (name: EngineName) => void }): Promise<Diagnosis> {
  const build = (await import(pathToFileURL(join(packageRoot, "src", "engine", "torch", "build.mjs")).href)) as BuildModule;
  const engines: EngineReport[] = [];
  for (const name of enginesBySpeed) {
    options.onEngine?.(name);
    engines.push(await probeInProcess(name, options));
  }
  return {
    isoerg: packageVersion(),
    machine: describeMachine(),
    libtorch: build.findLibtorch(),
    compiler: build.compilerVersion() ?? null,
    engines,
    auto: engines.find((engine) => engine.works)?.name ?? null,
  };
}

async function probeInProcess(name: EngineName, { device, threads }: ProbeOptions): Promise<EngineReport> {
  const script = fileURLToPath(new URL("./probe.js", import.meta.url));
  const child = spawn(process.execPath, [script, name, device, String(threads)], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 180_000, // a first start may compile the bridge
  });
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output.stderr += chunk.toString()));
  const [status, signal] = await new Promise<[number | null, string | null]>((done) => child.on("close", (...end) => done(end)));
  const line = output.stdout.trim().split("\n").at(-1) ?? "";
  if (status === 0 && line.startsWith("{")) return JSON.parse(line) as EngineReport;
  const lastWords = output.stderr.trim().split("\n").at(-1) ?? "";
  const reason = `its process ended with ${signal ?? `status ${status}`}${lastWords === "" ? "" : `: ${lastWords}`}`;
  return { name, works: false, reason, hint: null };
}
