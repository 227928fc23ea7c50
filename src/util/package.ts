/**
 * Where this package lies and which version it is, whether it runs from src (tests), from dist, or installed elsewhere.
 * Ready-made experiments and native sources are found from here, never from the current folder.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { invariant } from "./error.js";

function findRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) {
    const parent = dirname(folder);
    invariant(parent !== folder, "no package.json above the program");
    folder = parent;
  }
  return folder;
}

/** The folder with isoerg's package.json, absolute. */
export const packageRoot: string = findRoot();

/** The version in package.json. */
export function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8"));
  invariant(typeof manifest === "object" && manifest !== null && "version" in manifest, "package.json has no version");
  return String(manifest.version);
}
