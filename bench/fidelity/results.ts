/** What a finished cell leaves: one JSON file, written whole or not at all, so that a bench that was killed goes on behind it. */
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import type { EnergyGap } from "../../src/evaluate/figures/energy-gap.js";
import { type Cell, cellName, fingerprint } from "./cells.js";

const gap = z.object({
  /** mean E(other) - mean E(clean). */
  signed: z.number(),
  /** Paired: mean |E(other) - E(clean)|; null for generated samples. */
  absolute: z.number().nullable(),
  wasserstein: z.number(),
  /** In standard deviations of the clean energies. */
  wassersteinOverStd: z.number().nullable(),
  stdClean: z.number(),
});
export type GapFigures = z.infer<typeof gap>;

const figures = z.object({
  /** Shares in [0,1]. */
  clean: z.number(),
  pgd20: z.number(),
  apgd: z.number(),
  adversarial: gap,
  generated: gap,
  buffer: gap.nullable(),
  /** Fréchet distances to test images, in the features of the reference classifier. */
  frechetFresh: z.number(),
  frechetBuffer: z.number().nullable(),
});
export type CellFigures = z.infer<typeof figures>;

const resultSchema = z.object({
  dataset: z.string(),
  method: z.string(),
  seed: z.number(),
  fingerprint: z.string(),
  engine: z.string(),
  trainSeconds: z.number(),
  evaluateSeconds: z.number(),
  imagesPerSecond: z.number(),
  numImages: z.number(),
  /** Of the stability guard, each with its reason. */
  alarms: z.array(z.string()),
  /** Why there are no figures: the training or its evaluation failed. */
  failure: z.string().nullable(),
  figures: figures.nullable(),
});
export type CellResult = z.infer<typeof resultSchema>;

export function gapFigures({ signedMean, meanAbsolute, wasserstein, wassersteinOverStd, stdClean }: EnergyGap): GapFigures {
  return { signed: signedMean, absolute: meanAbsolute, wasserstein, wassersteinOverStd, stdClean };
}

const fileOf = (folder: string, cell: Cell): string => join(folder, "cells", `${cellName(cell)}.json`);

/** null: not computed, or with another configuration or protocol. */
export async function readResult(folder: string, cell: Cell): Promise<CellResult | null> {
  const file = fileOf(folder, cell);
  if (!existsSync(file)) return null;
  const result = resultSchema.parse(JSON.parse(await readFile(file, "utf8")));
  return result.fingerprint === fingerprint(cell) ? result : null;
}

export async function writeResult(folder: string, cell: Cell, result: CellResult): Promise<void> {
  await writeWhole(fileOf(folder, cell), `${JSON.stringify(result, null, 1)}\n`);
}

export async function writeWhole(file: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.tmp`, content);
  await rename(`${file}.tmp`, file);
}
