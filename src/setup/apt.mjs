// @ts-check
/**
 * Debian's packages that the torch engine is built from. Only where that is allowed: as root, or with ISOERG_APT=1 and a
 * sudo that asks nothing; never with ISOERG_NO_APT=1. Without them the portable engine takes over, and that is said.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { findLibtorch } from "../engine/torch/build.mjs";
import { root, runStep, say } from "./child.mjs";

/** A failed attempt is remembered for a day, so that a machine without the archive does not wait each time. */
const failure = join(root, "build", "apt-failed");
const RETRY_AFTER_MS = 24 * 3600 * 1000;

export async function installSystemPackages() {
  const missing = missingPackages();
  if (missing.length === 0) return;
  const names = missing.join(", ");
  const lost = "without them the portable engine is used, several times slower";
  const sudo = permission({ env: process.env, uid: process.getuid?.() ?? -1, canSudo });
  if (typeof sudo === "string") {
    say(`${names} not installed (${sudo}): ${lost}`);
    return;
  }
  if (failedLately()) {
    say(`${names} could not be installed before (${readFileSync(failure, "utf8").trim()}): ${lost}; ISOERG_APT=1 tries again`);
    return;
  }
  say(`installing ${names} with apt-get, for the torch engine (ISOERG_NO_APT=1 forbids it)`);
  const status = await aptInstall(sudo, missing);
  if (status === 0) return;
  mkdirSync(dirname(failure), { recursive: true });
  writeFileSync(failure, `apt-get ended with ${status}\n`);
  say(`apt-get ended with ${status}; ${lost}`);
}

/** What a torch engine needs and this machine lacks. A libtorch of another origin needs only a compiler. */
function missingPackages() {
  if (process.platform !== "linux" || !inPath("apt-get") || !inPath("dpkg-query")) return [];
  const compiler = process.env.CXX !== undefined || ["g++", "clang++", "c++"].some(inPath) ? [] : ["g++"];
  const search = findLibtorch();
  if (process.env.LIBTORCH !== undefined || (search.ok && search.libtorch.kind !== "debian")) return compiler;
  return [...["libtorch-dev", "libopenblas0-pthread"].filter((name) => !isInstalled(name)), ...compiler];
}

/** @param {string} name */
function isInstalled(name) {
  const answer = spawnSync("dpkg-query", ["-s", name], { encoding: "utf8" });
  return answer.status === 0 && answer.stdout.includes("Status: install ok installed");
}

/**
 * Words to put before apt-get, or the reason why it is not to be run.
 * @param {{ env: NodeJS.ProcessEnv, uid: number, canSudo: () => boolean }} who
 * @returns {readonly string[] | string}
 */
export function permission({ env, uid, canSudo }) {
  if (env.ISOERG_NO_APT === "1") return "ISOERG_NO_APT=1";
  if (uid === 0) return [];
  if (env.ISOERG_APT !== "1") return "not root, and ISOERG_APT=1 is not set";
  return canSudo() ? ["sudo", "-n"] : "not root, and sudo would ask for a password";
}

function canSudo() {
  return inPath("sudo") && spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status === 0;
}

/**
 * @param {readonly string[]} sudo
 * @param {readonly string[]} packages
 */
async function aptInstall(sudo, packages) {
  const options = ["-q", "-y", "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30"];
  /** @param {readonly string[]} args */
  const apt = (args) => {
    const [command = "apt-get", ...rest] = [...sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", ...options, ...args];
    return runStep(command, rest);
  };
  await apt(["update"]); // a part of the lists may be out of reach; the installation tells whether that matters
  return apt(["install", "--no-install-recommends", ...packages]);
}

function failedLately() {
  if (process.env.ISOERG_APT === "1") rmSync(failure, { force: true });
  return existsSync(failure) && Date.now() - statSync(failure).mtimeMs < RETRY_AFTER_MS;
}

/** @param {string} name */
function inPath(name) {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(join(folder, name)));
}
