/** How long saves and steps of a run took, by its journal: what a grace period has to leave time for. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Measured } from "../../k8s/options.js";
import { IsoergError } from "../../util/error.js";

/** @throws IsoergError USAGE where the folder holds no journal. */
export function measure(runFolder: string): Measured {
  let text: string;
  try {
    text = readFileSync(join(runFolder, "journal.jsonl"), "utf8");
  } catch (cause) {
    throw new IsoergError("USAGE", `${runFolder} holds no run: there is no journal.jsonl`, { cause });
  }
  return measureLines(text.split("\n"));
}

/** Of the journal's lines; those that a crash tore are passed over. */
export function measureLines(lines: readonly string[]): Measured {
  let saveMs: number | null = null;
  let before: { step: number; atMs: number } | null = null;
  const steps: number[] = [];
  for (const line of lines) {
    const entry = parse(line);
    if (entry === null) continue;
    if (entry.event === "checkpoint" && typeof entry.ms === "number") saveMs = Math.max(saveMs ?? 0, entry.ms);
    if (entry.event !== "commit" || typeof entry.step !== "number") continue;
    const atMs = Date.parse(String(entry.time));
    if (before !== null && entry.step === before.step + 1) steps.push(atMs - before.atMs);
    before = { step: entry.step, atMs };
  }
  steps.sort((a, b) => a - b);
  return { saveMs, stepMs: steps[Math.min(steps.length - 1, Math.floor(0.99 * steps.length))] ?? null };
}

function parse(line: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
