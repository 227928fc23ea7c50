// @ts-check
/**
 * Compiles the bridge against the libtorch that is found (find-libtorch.mjs). Plain JavaScript, because set-up and `isoerg doctor`
 * run it before (and without) the TypeScript build. One g++ call, no node-gyp; what was built is kept under build/torch/ by a hash of
 * the source, the library and the flags, and used again.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { findCuda, findLibtorch } from "./find-libtorch.mjs";

export { findCuda, findLibtorch };

/** @typedef {import("./libtorch.js").Libtorch} Libtorch */
/** @typedef {import("./libtorch.js").BridgeBuild} BridgeBuild */

const here = dirname(fileURLToPath(import.meta.url));
/** The repository's root, from src/engine/torch as from dist/src/engine/torch. */
const root = findRoot(here);
const nativeDir = join(root, "src", "engine", "torch", "native");

/** @param {string} from */
function findRoot(from) {
  for (let folder = from; folder !== dirname(folder); folder = dirname(folder)) {
    if (existsSync(join(folder, "package.json")) && existsSync(join(folder, "src", "engine", "torch", "native"))) return folder;
  }
  throw new Error(`the native sources of the torch engine are not above ${from}`);
}

/** Folders that hold N-API's headers: the npm package's. */
function nodeHeaders() {
  try {
    return dirname(createRequire(join(root, "package.json")).resolve("node-api-headers/include/node_api.h"));
  } catch {
    return undefined;
  }
}

/** @param {NodeJS.ProcessEnv} env */
function findCompiler(env) {
  for (const name of env.CXX ? [env.CXX] : ["g++", "clang++", "c++"]) {
    for (const folder of (env.PATH ?? "").split(delimiter)) if (existsSync(resolve(folder, name))) return resolve(folder, name);
  }
  return undefined;
}

/**
 * Compiles the bridge, or finds it compiled. Takes under a minute; prints nothing but through `log`.
 * @param {{ log?: (line: string) => void, folder?: string | undefined, env?: NodeJS.ProcessEnv }} [options]
 * @returns {BridgeBuild}
 */
export function buildBridge({ log = () => {}, folder, env = process.env } = {}) {
  const search = findLibtorch({ folder, env });
  if (!search.ok)
    return { ok: false, reason: search.reason, hint: "apt-get install libtorch-dev, or set LIBTORCH to an unpacked libtorch" };
  const { libtorch } = search;
  const headers = nodeHeaders();
  if (!headers) return { ok: false, reason: "the npm package node-api-headers is not installed", hint: "npm ci" };
  const compiler = findCompiler(env);
  // With CUDA's own headers and compiler where they are; what can't be built with them is built without.
  const cuda = libtorch.cuda ? findCuda(libtorch, env) : undefined;
  /** @type {string | undefined} */
  let failure;
  for (const toolkit of cuda ? [cuda, undefined] : [undefined]) {
    const flags = compilerFlags(libtorch, headers, toolkit);
    const path = join(root, "build", "torch", fingerprint(libtorch, flags), "bridge.node");
    if (existsSync(path)) return { ok: true, path, libtorch, reused: true, seconds: 0 };
    if (!compiler) return { ok: false, reason: "no C++ compiler", hint: "apt-get install g++" };
    log(
      `compiling the torch bridge against libtorch ${libtorch.version} (${libtorch.kind})${toolkit ? `, CUDA of ${toolkit.include}` : ""}`,
    );
    const started = Date.now();
    mkdirSync(dirname(path), { recursive: true });
    const objects = toolkit?.nvcc ? [join(dirname(path), "philox.o")] : [];
    // The small ones first: whoever finds the bridge finds all.
    const steps = /** @type {[string, string[], string][]} */ ([
      ...objects.map((object) => [toolkit?.nvcc, [...nvccFlags, "-c", join(nativeDir, "philox.cu")], object]),
      [compiler, [...flags.compile, join(nativeDir, "environment.cc")], join(dirname(path), "environment.node")],
      [compiler, [...flags.compile, join(nativeDir, "bridge.cc"), ...objects, ...flags.link], path],
    ]);
    failure = steps.map(([program, words, target]) => produce(program, words, target)).find((one) => one !== undefined);
    if (failure !== undefined) {
      log(failure);
      continue;
    }
    const seconds = (Date.now() - started) / 1000;
    log(`compiled in ${seconds.toFixed(1)} s`);
    return { ok: true, path, libtorch, reused: false, seconds };
  }
  return {
    ok: false,
    reason: failure ?? "the torch bridge was not compiled",
    hint: "the compiler needs C++17 (C++20 for libtorch 2.14 and later) and about 2 GB of memory",
  };
}

/** Code for Ampere and Hopper, and for whatever comes after them from Hopper's. */
const nvccFlags = [
  ...["-std=c++17", "-O3", "-Xcompiler", "-fPIC"],
  ...["-gencode", "arch=compute_80,code=sm_80", "-gencode", "arch=compute_90,code=[sm_90,compute_90]"],
];

/**
 * Runs a compiler; what it writes appears whole or not at all, also when two processes build at once.
 * @param {string} program
 * @param {string[]} words
 * @param {string} target
 * @returns {string | undefined} why it failed
 */
function produce(program, words, target) {
  const partial = `${target}.${process.pid}${target.endsWith(".o") ? ".o" : ""}`;
  const run = spawnSync(program, [...words, "-o", partial], { encoding: "utf8", maxBuffer: 1 << 28 });
  if (run.status === 0) {
    renameSync(partial, target);
    return undefined;
  }
  rmSync(partial, { force: true });
  const errors = (run.stderr ?? "").split("\n").filter((line) => /error|cannot find|not found/.test(line));
  return `${program} could not compile the torch bridge: ${errors[0] ?? run.error?.message ?? "no message"}`;
}

/**
 * @param {Libtorch} libtorch
 * @param {string} headers
 * @param {ReturnType<typeof findCuda>} cuda
 */
function compilerFlags(libtorch, headers, cuda) {
  const [major = 0, minor = 0] = libtorch.version.split(".").map(Number);
  const standard = major > 2 || (major === 2 && minor >= 14) ? "c++20" : "c++17";
  return {
    compile: [
      "-O3",
      "-fno-math-errno", // lets sqrt be vectorised
      "-fno-trapping-math",
      "-ffp-contract=fast",
      "-fopenmp", // without it at::parallel_for in our own kernels is a loop on one thread
      "-shared",
      "-fPIC",
      `-std=${standard}`,
      `-D_GLIBCXX_USE_CXX11_ABI=${libtorch.abi}`,
      "-DNAPI_VERSION=8",
      "-w", // libtorch's headers warn by the page
      "-isystem",
      headers,
      ...libtorch.includeDirs.flatMap((folder) => ["-isystem", folder]),
      ...(cuda ? ["-DISOERG_CUDA", "-isystem", cuda.include] : []),
      ...(cuda?.nvcc ? ["-DISOERG_CUDA_NOISE"] : []),
    ],
    link: [
      ...libtorch.libDirs.flatMap((folder) => [`-L${folder}`, `-Wl,-rpath,${folder}`]),
      ...libtorch.libDirs.flatMap(ownOpenMp), // before g++'s own: one team of threads for libtorch's kernels and ours
      // The operators register themselves when their library loads, so it must be linked though nothing names it.
      "-Wl,--no-as-needed",
      ...(libtorch.cuda ? ["-ltorch_cuda"] : []),
      "-ltorch_cpu",
      "-lc10",
      ...(cuda ? ["-lc10_cuda"] : []),
      ...(cuda?.lib ? [`-L${cuda.lib}`, "-lcudart_static", "-ldl", "-lrt", "-lpthread"] : []),
      "-Wl,-z,nodelete", // the memory pool must outlive the worker thread that loaded it
    ],
  };
}

/**
 * The OpenMP runtime that a wheel of torch carries under a name of its own (libgomp-HASH.so.1); Debian's torch uses the system's.
 * @param {string} libDir
 */
function ownOpenMp(libDir) {
  if (!existsSync(libDir)) return [];
  return readdirSync(libDir)
    .filter((name) => /^libgomp-.*\.so/.test(name))
    .map((name) => join(libDir, name));
}

/**
 * @param {Libtorch} libtorch
 * @param {{ compile: string[], link: string[] }} flags
 */
function fingerprint(libtorch, flags) {
  const hash = createHash("sha256");
  for (const name of readdirSync(nativeDir).sort()) hash.update(name).update(readFileSync(join(nativeDir, name)));
  hash.update(JSON.stringify([libtorch, flags, process.arch]));
  return hash.digest("hex").slice(0, 16);
}

/** The compiler's version line, for `isoerg doctor`. @param {NodeJS.ProcessEnv} [env] */
export function compilerVersion(env = process.env) {
  const compiler = findCompiler(env);
  if (!compiler) return undefined;
  return execFileSync(compiler, ["--version"], { encoding: "utf8" }).split("\n")[0];
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const built = buildBridge({ log: (line) => process.stdout.write(`${line}\n`) });
  process.stdout.write(built.ok ? `${built.path}\n` : `${built.reason}\n${built.hint}\n`);
  process.exitCode = built.ok ? 0 : 1;
}
