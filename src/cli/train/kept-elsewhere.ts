/**
 * Checkpoints that a run keeps outside its folder, looked at before the folder is made: a run whose folder was lost goes on from
 * them, and a new run doesn't write among those of another.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { openCheckpoints } from "../../checkpoint/open.js";
import type { Config } from "../../config/schema.js";
import { IsoergError } from "../../util/error.js";
import { firstDifference } from "./run-folder.js";

const stateSchema = z.object({ config: z.record(z.string(), z.unknown()) });

/** Of a configuration, what the state of a run doesn't depend on: where it is kept, and how storage is reached. */
function withoutPlaces({ checkpoint, storage: _, data, ...rest }: Record<string, unknown>): object {
  const { path: __, ...kept } = (checkpoint ?? {}) as Record<string, unknown>;
  const { path: ___, ...dataKept } = (data ?? {}) as Record<string, unknown>;
  return { ...rest, checkpoint: kept, data: dataKept };
}

/**
 * @returns whether the run goes on from checkpoints that its folder knows nothing of
 * @throws IsoergError USAGE where they are another run's, or nobody asked for them
 */
export async function isKeptElsewhere(config: Config, runFolder: string, { resume }: { readonly resume: boolean }): Promise<boolean> {
  const { path } = config.checkpoint;
  if (path === null || existsSync(join(runFolder, "config.yaml"))) return false;
  const store = openCheckpoints({ config, runFolder });
  if ((await store.list()).length === 0) return false;
  if (!resume) {
    throw new IsoergError("USAGE", `${path} holds checkpoints already, and ${runFolder} is a new run`, {
      hint: "Give --resume to go on from them, or another checkpoint.path.",
    });
  }
  const { state, path: found } = await store.load("latest");
  const began = stateSchema.safeParse(state);
  const wanted = withoutPlaces({ ...config });
  const there = began.success ? withoutPlaces(began.data.config) : {};
  if (JSON.stringify(there) === JSON.stringify(wanted)) return true;
  throw new IsoergError("USAGE", `${found} is of a run with another configuration: ${firstDifference(there, wanted)}`, {
    hint: "Give the settings that the run began with, or another checkpoint.path.",
  });
}
