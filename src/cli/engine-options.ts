/** --engine, --device and --threads, the same on every command that computes. */
import { availableParallelism } from "node:os";
import { type Command, Option } from "commander";
import type { EngineOptions } from "../engine/engine.js";
import { parseCount } from "./numbers.js";

export interface EngineFlags {
  readonly engine: EngineOptions["engine"];
  readonly device: string;
  readonly threads: number;
}

/** @param usualThreads what a command makes of a missing --threads, in words; without, all cores */
export function addEngineOptions(command: Command, usualThreads?: string): Command {
  return command
    .addOption(new Option("--engine <name>", "tensor engine").choices(["auto", "torch", "tensorflow", "wasm", "cpu"]).default("auto"))
    .option("--device <device>", "cpu, cuda or cuda:N", "cpu")
    .addOption(new Option("--threads <n>", "threads of one operation").argParser(parseCount).default(availableParallelism(), usualThreads));
}
