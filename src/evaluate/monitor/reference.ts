/**
 * energy-reference.json: the energies of clean test samples, kept with a model so that a monitor can tell later whether new data still look
 * the same to it. It names the model by the digest of its weights: energies of another model are no reference.
 */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { IsoergError } from "../../util/error.js";
import { packageVersion } from "../../util/package.js";
import { type Analysis, parseJson, shapeSchema } from "../analysis/analysis.js";

export const REFERENCE_FILE = "energy-reference.json";

const referenceSchema = z.object({
  format: z.literal("isoerg-energy-reference"),
  version: z.literal(1),
  model: z.object({ name: z.string(), kind: z.string(), fingerprint: z.string() }),
  data: z.object({ name: z.string(), digest: z.string(), split: z.string(), classes: z.array(z.string()).min(1), shape: shapeSchema }),
  /** How foreign models were fed; empty for others. */
  input: z.record(z.string(), z.unknown()),
  createdAt: z.string(),
  isoergVersion: z.string(),
  /** E(x), ascending. */
  energies: z.array(z.number()).min(20, "a reference needs at least 20 energies"),
  /** Share of the samples that the model puts into each class. */
  predictedShares: z.array(z.number()),
});

export type EnergyReference = z.infer<typeof referenceSchema>;

/** From an analysis, whose clean test set it takes. */
export function referenceOf(analysis: Analysis, predicted: ArrayLike<number>): EnergyReference {
  const clean = analysis.sets.find(({ kind }) => kind === "clean");
  if (!clean || clean.numSamples < 20) {
    throw new IsoergError("USAGE", `${clean?.numSamples ?? 0} test samples are too few for a reference`, {
      hint: "Analyse at least 20, better 1,000: --samples 1000.",
    });
  }
  const { name, kind, fingerprint } = analysis.model;
  const shares = analysis.data.classes.map((_, k) => Array.from(predicted).filter((c) => c === k).length / predicted.length);
  return {
    format: "isoerg-energy-reference",
    version: 1,
    model: { name, kind, fingerprint },
    data: {
      name: analysis.data.name,
      digest: analysis.data.digest,
      split: "test",
      classes: analysis.data.classes,
      shape: analysis.data.shape,
    },
    input: analysis.settings.input,
    createdAt: analysis.analyzedAt,
    isoergVersion: packageVersion(),
    energies: [...clean.marginal.energies].sort((a, b) => a - b),
    predictedShares: shares,
  };
}

/** @throws IsoergError DATA or USAGE that says what is missing or wrong. */
export async function readReference(path: string): Promise<EnergyReference> {
  const hint = "Make one with isoerg analyze MODEL --data DIR --reference FILE; for a run it is kept in the run's folder.";
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new IsoergError("USAGE", `there is no reference at ${path}`, { hint, cause });
  }
  return parseJson(text, path, referenceSchema, "an energy reference", hint);
}
