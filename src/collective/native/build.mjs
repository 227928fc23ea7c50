// @ts-check
/**
 * Compiles the C++ beside this file: one g++ call of a few seconds, no node-gyp. What was built is kept under build/collective/ by a
 * hash of the sources and the flags. Plain JavaScript, because set-up runs it before the TypeScript build. Where it can't be built, sums
 * go through ZeroMQ inside a host as well, and whoever asked is told why.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../../..");
const FLAGS = [
  ...["-O3", "-fno-trapping-math", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread", "-std=c++17"],
  ...["-DNAPI_VERSION=8", "-Wl,-z,nodelete"],
];

/** @param {NodeJS.ProcessEnv} env */
function findCompiler(env) {
  for (const name of env.CXX ? [env.CXX] : ["g++", "clang++", "c++"]) {
    for (const folder of (env.PATH ?? "").split(delimiter)) if (existsSync(resolve(folder, name))) return resolve(folder, name);
  }
  return undefined;
}

/**
 * Compiles the library, or finds it compiled.
 * @param {{ log?: (line: string) => void, env?: NodeJS.ProcessEnv }} [options]
 * @returns {{ ok: true, path: string, reused: boolean } | { ok: false, reason: string, hint: string }}
 */
export function buildHostMemory({ log = () => {}, env = process.env } = {}) {
  if (process.platform !== "linux")
    return { ok: false, reason: `no shared memory between processes on ${process.platform}`, hint: "Linux has it" };
  let headers;
  try {
    headers = dirname(createRequire(join(root, "package.json")).resolve("node-api-headers/include/node_api.h"));
  } catch {
    return { ok: false, reason: "the npm package node-api-headers is not installed", hint: "npm ci" };
  }
  const files = readdirSync(here)
    .filter((name) => /\.(cc|h)$/.test(name))
    .sort()
    .map((name) => join(here, name));
  const hash = createHash("sha256").update(JSON.stringify([FLAGS, process.arch]));
  for (const file of files) hash.update(file.slice(here.length)).update(readFileSync(file));
  const path = join(root, "build", "collective", hash.digest("hex").slice(0, 16), "host_memory.node");
  if (existsSync(path)) return { ok: true, path, reused: true };
  const compiler = findCompiler(env);
  if (!compiler) return { ok: false, reason: "no C++ compiler for shared memory between processes", hint: "apt-get install g++" };
  log("compiling shared memory between processes");
  const sources = files.filter((file) => file.endsWith(".cc"));
  const partial = `${path}.${process.pid}`;
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    return {
      ok: false,
      reason: `${dirname(path)} can't be made: ${/** @type {Error} */ (error).message}`,
      hint: "build it where the folder can be written",
    };
  }
  const run = spawnSync(compiler, [...FLAGS, "-isystem", headers, ...sources, "-o", partial], { encoding: "utf8" });
  if (run.status !== 0) {
    rmSync(partial, { force: true });
    const error = (run.stderr ?? "").split("\n").find((line) => line.includes("error"));
    return {
      ok: false,
      reason: `${compiler} could not compile ${here}: ${error ?? run.error?.message ?? "no message"}`,
      hint: "it needs C++17",
    };
  }
  renameSync(partial, path); // whole or not at all, also when two processes build at once
  return { ok: true, path, reused: false };
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const built = buildHostMemory({ log: (line) => process.stdout.write(`${line}\n`) });
  process.stdout.write(built.ok ? `${built.path}\n` : `${built.reason}\n${built.hint}\n`);
  process.exitCode = built.ok ? 0 : 1;
}
