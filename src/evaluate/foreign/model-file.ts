/**
 * TensorFlow.js models on disk: a model.json, which holds the topology and names the shards of its weights. Read with plain file
 * operations, so no native TensorFlow is needed; everything that can be wrong with the files is named before a tensor is made.
 *
 * Two formats share the file name. A layers model (Keras) has a `model_config`; a graph model (from a SavedModel) has nodes.
 */
import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { io } from "@tensorflow/tfjs-core";
import { z } from "zod";
import { IsoergError } from "../../util/error.js";

export type ForeignFormat = "layers-model" | "graph-model";

export interface ModelFile {
  /** Of model.json. */
  readonly path: string;
  readonly format: ForeignFormat;
  /** Parsed; whoever changes it changes a copy. */
  readonly topology: Readonly<Record<string, unknown>>;
  readonly artifacts: io.ModelArtifacts;
}

const modelSchema = z.looseObject({
  modelTopology: z.record(z.string(), z.unknown()),
  format: z.string().nullish(),
  weightsManifest: z.array(
    z.looseObject({
      paths: z.array(z.string().min(1)),
      weights: z.array(z.looseObject({ name: z.string(), shape: z.array(z.int().nonnegative()), dtype: z.string() })),
    }),
  ),
});

/** The model.json that a path stands for: itself, or the one in that folder. Undefined where it is none. */
export async function findModelFile(path: string): Promise<string | undefined> {
  const absolute = resolve(path);
  const found = await stat(absolute).catch(() => undefined);
  if (found?.isDirectory()) {
    const inside = join(absolute, "model.json");
    return (await stat(inside).catch(() => undefined))?.isFile() ? inside : undefined;
  }
  return found?.isFile() && absolute.endsWith(".json") ? absolute : undefined;
}

/** @throws IsoergError CHECKPOINT that names what is missing, torn or of another format. */
export async function readModelFile(path: string): Promise<ModelFile> {
  const wrong = (problem: string, hint = "Save or convert the model again.", cause?: unknown): IsoergError =>
    new IsoergError("CHECKPOINT", `${path}: ${problem}`, { hint, cause });
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw wrong(cause instanceof SyntaxError ? "is not JSON" : `can't be read: ${(cause as Error).message}`, undefined, cause);
  }
  const parsed = modelSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw wrong(`is not a TensorFlow.js model: ${issue?.path.join(".")}: ${issue?.message}`);
  }
  const { modelTopology: topology, weightsManifest, ...rest } = parsed.data;
  const format = formatOf(parsed.data.format ?? undefined, topology);
  if (!format) {
    throw wrong(
      `is neither a layers model nor a graph model${rest.format ? ` (its format is '${rest.format}')` : ""}`,
      "tensorflowjs_converter writes both; a Keras 3 file has to be saved as Keras 2 or as a SavedModel first.",
    );
  }
  const weightData = await readShards(path, weightsManifest, wrong);
  return {
    path,
    format,
    topology,
    artifacts: {
      ...rest,
      format,
      modelTopology: topology,
      weightSpecs: weightsManifest.flatMap((group) => group.weights) as unknown as io.WeightsManifestEntry[],
      weightData,
    },
  };
}

function formatOf(stated: string | undefined, topology: Readonly<Record<string, unknown>>): ForeignFormat | undefined {
  if (Array.isArray(topology.node)) return "graph-model";
  if (stated === "layers-model" || topology.model_config !== undefined || topology.class_name !== undefined) return "layers-model";
  return undefined;
}

const BYTES: Readonly<Record<string, number>> = { float32: 4, int32: 4, bool: 1, uint8: 1, uint16: 2, float16: 2, complex64: 8 };

type Group = z.infer<typeof modelSchema>["weightsManifest"][number];

async function readShards(
  path: string,
  groups: readonly Group[],
  wrong: (problem: string, hint?: string) => IsoergError,
): Promise<ArrayBuffer> {
  const pieces: Buffer[] = [];
  for (const { paths, weights } of groups) {
    let found = 0;
    for (const shard of paths) {
      // Shards lie beside model.json; a name can't lead elsewhere.
      if (basename(shard) !== shard) throw wrong(`names a shard outside its folder: '${shard}'`);
      const bytes = await readFile(join(dirname(path), shard)).catch(() => undefined);
      if (!bytes) throw wrong(`its shard '${shard}' is missing or can't be read`, "Copy all shards beside model.json.");
      found += bytes.length;
      pieces.push(bytes);
    }
    const expected = sizeOf(weights);
    if (expected !== undefined && found !== expected) {
      throw wrong(
        `its shards ${paths.join(", ")} hold ${found} bytes, ${expected} are due`,
        "A shard was cut off or replaced; copy it again.",
      );
    }
  }
  const all = Buffer.concat(pieces);
  return all.buffer.slice(all.byteOffset, all.byteOffset + all.byteLength) as ArrayBuffer;
}

/** Bytes of a group's weights; undefined where one of them has no fixed size (strings). */
function sizeOf(weights: Group["weights"]): number | undefined {
  let total = 0;
  for (const { shape, dtype, quantization } of weights) {
    const stored = (quantization as { dtype?: string } | undefined)?.dtype ?? dtype;
    const bytes = BYTES[stored];
    if (bytes === undefined) return undefined;
    total += bytes * shape.reduce((product, length) => product * length, 1);
  }
  return total;
}
