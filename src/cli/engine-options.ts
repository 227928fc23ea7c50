/** --engine, --device and --threads, the same on every command that computes. */
import { availableParallelism } from "node:os";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { EngineOptions } from "../engine/engine.js";

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

/** For commander: a whole number from 1 on. */
export function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("It takes a whole number from 1 on.");
  return value;
}
