/**
 * A run, or one checkpoint of it, as it lies on disk: the resolved configuration, the checkpoint that was asked for, and what
 * to say about both. Opening changes nothing, so a run can be looked at while it trains, or from a read-only medium.
 */
import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { openCheckpoints } from "../checkpoint/open.js";
import { checkpointOfPath, type LoadedCheckpoint, loadCheckpointFolder } from "../checkpoint/store.js";
import { loadConfig } from "../config/load.js";
import type { Config } from "../config/schema.js";
import { IsoergError } from "../util/error.js";

export interface OpenedRun {
  /** Absolute. */
  readonly folder: string;
  readonly config: Config;
  readonly checkpoint: LoadedCheckpoint;
}

/**
 * @param path a run's folder (its newest whole checkpoint is taken), or one of its `checkpoints/step-*` folders.
 * @throws IsoergError USAGE for a path that is neither, CHECKPOINT for a checkpoint that can't be used.
 */
export async function openRun(path: string): Promise<OpenedRun> {
  const absolute = resolve(path);
  if (!existsSync(absolute))
    throw new IsoergError("USAGE", `there is no ${path}`, { hint: "Name a run's folder, for example runs/quickstart." });
  const ofCheckpoint = checkpointOfPath(absolute);
  const folder = ofCheckpoint ? dirname(ofCheckpoint.dir) : absolute;
  const config = readRunConfig(folder);
  const checkpoint = ofCheckpoint
    ? await loadCheckpointFolder(absolute)
    : await openCheckpoints({ config, runFolder: folder }).load("latest");
  return { folder, config, checkpoint };
}

/** The configuration that a run resolved for itself; today's environment has no say in it. */
export function readRunConfig(folder: string): Config {
  const file = join(folder, "config.yaml");
  if (!existsSync(file)) {
    throw new IsoergError("USAGE", `${folder} is not a run: it has no config.yaml`, {
      hint: `A run is the folder that isoerg train --run names${basename(folder) === "checkpoints" ? "; you named its checkpoints" : ""}.`,
    });
  }
  return loadConfig({ source: file, env: {} }).config;
}
