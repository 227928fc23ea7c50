// @ts-check
/**
 * The npm packages, exactly those of package-lock.json. npm's own settings (registry, proxy, certificates) are left alone.
 * Packages' install scripts are not run: nothing here needs them, and some would download from outside the registry.
 */
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { root, runStep, SetupError, say } from "./child.mjs";

/** @typedef {{ version?: string, optional?: boolean, devOptional?: boolean }} Locked */

/** Runs `npm ci` when node_modules is missing or is not what the lockfile says. */
export async function installPackages() {
  const wanted = packagesOf(join(root, "package-lock.json")) ?? {};
  const installed = packagesOf(join(root, "node_modules", ".package-lock.json"));
  const reason = whatIsMissing(wanted, installed, (path) => existsSync(join(root, path)));
  if (reason === undefined) return;
  say(`installing the npm packages of package-lock.json into node_modules (${reason})`);
  const started = Date.now();
  const [command = "npm", ...args] = npm();
  const status = await runStep(command, [...args, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
  if (status !== 0) {
    throw new SetupError(
      `npm ci ended with ${status}`,
      "see its message above: is the registry reachable, and node_modules yours to write?",
    );
  }
  say(`packages installed in ${((Date.now() - started) / 1000).toFixed(0)} s`);
}

/**
 * Why node_modules does not do, in a few words; undefined when it does.
 * @param {Record<string, Locked>} wanted of package-lock.json
 * @param {Record<string, Locked> | undefined} installed of npm's own record in node_modules
 * @param {(path: string) => boolean} exists
 */
export function whatIsMissing(wanted, installed, exists) {
  if (installed === undefined) return "none are there yet";
  for (const [path, { version, optional, devOptional }] of Object.entries(wanted)) {
    if (path === "") continue;
    const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
    const have = installed[path];
    if (have === undefined && (optional === true || devOptional === true)) continue; // for other machines, or refused by this one
    if (have === undefined || !exists(path)) return `${name} is missing`;
    if (have.version !== version) return `${name} is ${have.version}, ${version} is wanted`;
  }
  return undefined;
}

/**
 * @param {string} file
 * @returns {Record<string, Locked> | undefined}
 */
function packagesOf(file) {
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(readFileSync(file, "utf8")).packages;
  } catch {
    return undefined;
  }
}

/** The npm that started this, else the one in PATH. */
function npm() {
  const script = process.env.npm_execpath;
  return script !== undefined && basename(script).startsWith("npm-cli") ? [process.execPath, script] : ["npm"];
}
