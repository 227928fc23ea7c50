/**
 * What machine this is, in facts that decide speed: for `isoerg doctor`, and to stand beside every measured figure. Read
 * from the operating system at the moment of the call; nothing is guessed, and what can't be read is null.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, platform, release, totalmem } from "node:os";

export interface Machine {
  readonly node: string;
  /** For example `Debian GNU/Linux 12 (bookworm)`. */
  readonly system: string;
  /** For example `linux x64, kernel 6.1.0`. */
  readonly platform: string;
  readonly processor: string;
  /** That this process may use. */
  readonly numCores: number;
  /** Those of the processor's instruction sets that tensor libraries ask for. */
  readonly instructions: readonly string[];
  readonly memoryBytes: number;
  /** A container's limit, where it is below the machine's memory. */
  readonly memoryLimitBytes: number | null;
  readonly gpus: readonly Gpu[];
}

export interface Gpu {
  readonly name: string;
  readonly driver: string;
  readonly memoryBytes: number;
}

const instructionSets = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16"];

export function describeMachine(): Machine {
  const memoryBytes = totalmem();
  const limit = process.constrainedMemory();
  return {
    node: process.versions.node,
    system: systemName(),
    platform: `${platform()} ${arch()}, kernel ${release()}`,
    processor: (cpus()[0]?.model ?? "unknown").trim(),
    numCores: availableParallelism(),
    instructions: instructionsOf(read("/proc/cpuinfo")),
    memoryBytes,
    memoryLimitBytes: limit > 0 && limit < memoryBytes ? limit : null,
    gpus: gpus(),
  };
}

/** The instruction sets that the first processor of a /proc/cpuinfo has. */
export function instructionsOf(cpuinfo: string): string[] {
  const flags = new Set((/^(?:flags|Features)\s*:(.*)$/m.exec(cpuinfo)?.[1] ?? "").split(/\s+/));
  return instructionSets.filter((name) => flags.has(name));
}

function systemName(): string {
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(read("/etc/os-release"))?.[1] ?? platform();
}

function gpus(): Gpu[] {
  const query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits"];
  const answer = spawnSync("nvidia-smi", query, { encoding: "utf8", timeout: 10_000 });
  if (answer.status !== 0) return [];
  const lines = answer.stdout.split("\n").filter((line) => line.trim() !== "");
  return lines.map((line) => {
    const [name = "", driver = "", mebibytes = "0"] = line.split(",").map((cell) => cell.trim());
    return { name, driver, memoryBytes: Number(mebibytes) * 2 ** 20 };
  });
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
