/**
 * The folder of a run that is about to be led: made for a new run, entered again for an unfinished one of the same
 * configuration, refused for anything else. While a coordinator leads the run, coordinator.json says which and where;
 * that keeps a second one out and lets `isoerg status --run DIR` find it.
 */
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import { configToYaml } from "../../config/print.js";
import type { Config } from "../../config/schema.js";
import { readJournal } from "../../coordinator/journal.js";
import { readRunConfig } from "../../evaluate/run-folder.js";
import { withoutSecrets } from "../../security/token.js";
import { IsoergError } from "../../util/error.js";
import { describeMachine } from "../../util/machine.js";
import { packageVersion } from "../../util/package.js";
import { decideStanding } from "../standing.js";

export type Entrance =
  | { readonly kind: "new" }
  | { readonly kind: "continue"; readonly step: number }
  /** All steps are done; nothing was touched. */
  | { readonly kind: "finished"; readonly step: number };

const LEADER = "coordinator.json";
const REFRESH_MS = 2_000;
const LOOK_AGAIN_MS = 500;
/** A leader on another host that has not refreshed its file for so long is gone. */
const GONE_MS = 60_000;
const leaderSchema = z.object({ pid: z.int(), host: z.string(), address: z.string() });

/** @throws IsoergError USAGE where the folder can't be used for this run. */
export async function enterRunFolder(
  folder: string,
  config: Config,
  options: { resume: boolean; command: readonly string[] },
): Promise<Entrance> {
  const path = resolve(folder);
  if (!existsSync(join(path, "config.yaml"))) {
    const others = existsSync(path) ? await readdir(path) : [];
    if (others.length > 0) {
      throw new IsoergError("USAGE", `${folder} is not empty and is not a run`, { hint: "Give --run a new folder." });
    }
    await mkdir(join(path, "logs"), { recursive: true });
    await writeFile(join(path, "environment.json"), `${JSON.stringify(environmentOf(options.command), null, 2)}\n`);
    await writeFile(join(path, "config.yaml"), configToYaml(config));
    return { kind: "new" };
  }
  const found = readRunConfig(path);
  const { lines } = await readJournal(path);
  const standing = decideStanding(found, config, lines);
  if (standing.kind === "other") {
    throw new IsoergError("USAGE", `${folder} holds a run with another configuration: ${firstDifference(found, config)}`, {
      hint: "Give --run a new folder, or the settings that the run began with.",
    });
  }
  await refuseSecondLeader(path, folder);
  if (standing.kind === "finished") {
    if (options.resume) return standing;
    throw new IsoergError("USAGE", `${folder} holds a finished run of this configuration (${standing.step} steps)`, {
      hint: `Give --run a new folder, or look at it: isoerg evaluate ${folder}`,
    });
  }
  await mkdir(join(path, "logs"), { recursive: true });
  return { kind: "continue", step: standing.kind === "unfinished" ? standing.step : 0 };
}

/**
 * Says who leads the run, until the returned function is called. The file is looked at as often as it is refreshed: a leader that
 * was away for so long that another took its place is told by `onReplaced`, and must not go on.
 */
export async function announceLeader(folder: string, address: string, onReplaced: (reason: string) => void): Promise<() => Promise<void>> {
  const path = join(resolve(folder), LEADER);
  const self = { pid: process.pid, host: hostname(), address };
  await writeFile(`${path}.tmp`, `${JSON.stringify(self)}\n`);
  await rename(`${path}.tmp`, path);
  const isOther = (leader: z.infer<typeof leaderSchema>): boolean => leader.pid !== self.pid || leader.host !== self.host;
  const timer = setInterval(async () => {
    const leader = await readLeader(resolve(folder));
    if (leader && isOther(leader)) return onReplaced(`process ${leader.pid} on ${leader.host} leads this run now, at ${leader.address}`);
    const now = new Date();
    utimes(path, now, now).catch(() => {}); // someone deleted it, as the error for a second leader proposes
  }, REFRESH_MS);
  return async () => {
    clearInterval(timer);
    const leader = await readLeader(resolve(folder));
    if (!leader || !isOther(leader)) await rm(path, { force: true });
  };
}

/** Address of the coordinator that leads a run. @throws IsoergError USAGE when none does. */
export async function leaderOf(folder: string): Promise<string> {
  const leader = await readLeader(resolve(folder));
  if (leader) return leader.address;
  throw new IsoergError("USAGE", `nobody leads the run in ${folder}`, {
    hint: "It has ended or was not begun; isoerg report shows what there is.",
  });
}

async function refuseSecondLeader(path: string, folder: string): Promise<void> {
  const leader = await readLeader(path);
  if (!leader || !(await isLeading(leader, join(path, LEADER)))) return;
  if (leader.host !== hostname()) {
    // Kubernetes: a pod of a node that was cut off may still be there. Another attempt is worth it, and is counted.
    throw new IsoergError(
      "FENCED",
      `the run in ${folder} is going on: process ${leader.pid} on ${leader.host} leads it at ${leader.address}`,
      {
        hint: `Follow it with: isoerg watch --coordinator ${leader.address}.`,
      },
    );
  }
  throw new IsoergError(
    "USAGE",
    `the run in ${folder} is going on: process ${leader.pid} on ${leader.host} leads it at ${leader.address}`,
    {
      hint: `Follow it with: isoerg watch --coordinator ${leader.address}. If that process is gone, delete ${join(folder, LEADER)}.`,
    },
  );
}

async function readLeader(path: string): Promise<z.infer<typeof leaderSchema> | undefined> {
  try {
    return leaderSchema.parse(JSON.parse(await readFile(join(path, LEADER), "utf8")));
  } catch {
    return undefined; // none, or torn by a crash
  }
}

/**
 * A container that starts again may have the process number of the one before. A leader on another host is alive if it refreshes its
 * file; one that was killed without a word (a lost node) is waited for until it counts as gone, so that its successor takes over.
 */
async function isLeading({ pid, host }: z.infer<typeof leaderSchema>, file: string): Promise<boolean> {
  if (host === hostname()) return pid !== process.pid && isAlive(pid);
  const writtenAt = await writtenAtMs(file);
  while (writtenAt !== null && Date.now() - writtenAt < GONE_MS) {
    await pause(LOOK_AGAIN_MS);
    if ((await writtenAtMs(file)) !== writtenAt) return (await writtenAtMs(file)) !== null; // refreshed, or withdrawn in order
  }
  return false;
}

async function writtenAtMs(file: string): Promise<number | null> {
  return stat(file).then(
    ({ mtimeMs }) => mtimeMs,
    () => null,
  );
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function environmentOf(command: readonly string[]): object {
  return {
    isoerg: packageVersion(),
    command: withoutSecrets(command),
    startedAt: new Date().toISOString(),
    host: hostname(),
    machine: describeMachine(),
  };
}

/** The first setting that differs, as `key: here -> there`. */
export function firstDifference(found: unknown, wanted: unknown, path = ""): string {
  const isTree = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isTree(found) || !isTree(wanted)) return `${path} is ${JSON.stringify(found)} there and ${JSON.stringify(wanted)} here`;
  for (const key of new Set([...Object.keys(found), ...Object.keys(wanted)])) {
    if (JSON.stringify(found[key]) !== JSON.stringify(wanted[key]))
      return firstDifference(found[key], wanted[key], path === "" ? key : `${path}.${key}`);
  }
  return "it differs";
}
