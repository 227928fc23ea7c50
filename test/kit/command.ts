/** What tests of commands share: a small trained run to call them on, the call, and what it printed. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { afterAll, beforeAll, beforeEach, vi } from "vitest";
import { startCpu } from "../../src/engine/cpu.js";
import { trainSmallRun } from "./trained-run.js";

export interface TrainedPlace {
  /** Goes with the tests. */
  readonly folder: string;
  readonly run: string;
  readonly data: string;
}

/** Trains before the tests of a file, on the reference engine; what is returned may be read in them. */
export function withTrainedRun(name: string, options: { numTest: number }): TrainedPlace {
  const place = { folder: "", run: "", data: "" };
  beforeAll(async () => {
    await startCpu();
    place.folder = mkdtempSync(join(tmpdir(), `isoerg-${name}-`));
    const { runFolder, dataFolder } = await trainSmallRun(place.folder, { overrides: { epochs: 3 }, ...options });
    place.run = runFolder;
    place.data = dataFolder;
  });
  afterAll(() => rmSync(place.folder, { recursive: true, force: true }));
  return place;
}

export interface Printed {
  /** On standard output, since the test began or `clear`. */
  text(): string;
  clear(): void;
}

/** Keeps what each test of a file prints, and the terminal clean. */
export function withPrinted(): Printed {
  let printed = "";
  beforeEach(() => {
    printed = "";
    vi.spyOn(process.stdout, "write").mockImplementation((text) => {
      printed += String(text);
      return true;
    });
    vi.spyOn(process.stderr, "write").mockImplementation(() => true);
    return () => vi.restoreAllMocks();
  });
  return {
    text: () => printed,
    clear: () => {
      printed = "";
    },
  };
}

/** Calls a command as from a shell, on the reference engine. */
export function call(command: Command, ...args: readonly string[]): Promise<Command> {
  return command.exitOverride().parseAsync([...args, "--engine", "cpu"], { from: "user" });
}
