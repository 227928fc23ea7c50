// @ts-check
/**
 * Finds a libtorch and compiles the bridge against it. Plain JavaScript, because set-up and `isoerg doctor` run it before
 * (and without) the TypeScript build. One g++ call, no node-gyp; what was built is kept under build/torch/ by a hash of
 * the source, the library and the flags, and used again.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** @typedef {import("./libtorch.js").Libtorch} Libtorch */
/** @typedef {import("./libtorch.js").LibtorchSearch} LibtorchSearch */
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

/**
 * Looks for a libtorch: the folder named (or in $LIBTORCH) and no other; else Debian's libtorch-dev, an unpacked folder in a
 * usual place, the torch of a Python installation: the first of them, but where a GPU is present the first with CUDA.
 * @param {{ folder?: string | undefined, env?: NodeJS.ProcessEnv, gpu?: boolean, candidates?: () => Iterable<Libtorch> }} [options]
 * @returns {LibtorchSearch}
 */
export function findLibtorch({ folder, env = process.env, gpu = hasGpu(), candidates = () => installed(env) } = {}) {
  const named = folder ?? env.LIBTORCH;
  if (named) {
    const found = inFolder(resolve(named), "named");
    if (!found) return { ok: false, reason: `${named} has no include/ATen and lib/libtorch_cpu.so` };
    return { ok: true, libtorch: found, why: folder ? "named" : "named by LIBTORCH" };
  }
  /** @type {Libtorch | undefined} */
  let first;
  for (const found of candidates()) {
    if (!gpu) return { ok: true, libtorch: found, why: "the first found" };
    if (found.cuda) return { ok: true, libtorch: found, why: "the first found with CUDA, since a GPU is present" };
    first ??= found;
  }
  if (first) return { ok: true, libtorch: first, why: "the first found; a GPU is present, but no libtorch with CUDA" };
  return {
    ok: false,
    reason: `no libtorch: neither $LIBTORCH, nor Debian's libtorch-dev, nor ${usualFolders.join(" or ")}, nor a Python installation with torch`,
  };
}

/** Where an unpacked libtorch is looked for. */
const usualFolders = ["/opt/libtorch", "/usr/local/libtorch"];

/** @param {NodeJS.ProcessEnv} env @returns {Generator<Libtorch>} */
function* installed(env) {
  const debian = ofDebian();
  if (debian) yield debian;
  for (const folder of usualFolders) {
    const found = inFolder(folder, "folder");
    if (found) yield found;
  }
  yield* ofPython(env);
}

/** Whether NVIDIA's driver is loaded. */
function hasGpu() {
  return existsSync("/proc/driver/nvidia/version") || existsSync("/dev/nvidiactl");
}

/**
 * @param {string} folder
 * @param {Libtorch["kind"]} kind
 * @returns {Libtorch | undefined}
 */
function inFolder(folder, kind) {
  const includeDirs = [join(folder, "include"), join(folder, "include", "torch", "csrc", "api", "include")];
  const libDir = join(folder, "lib");
  const version = versionIn(join(folder, "include"));
  if (!version || !existsSync(join(libDir, "libtorch_cpu.so"))) return undefined;
  return {
    kind,
    version,
    includeDirs,
    libDirs: [libDir],
    abi: abiOf(join(libDir, "libc10.so")),
    cuda: existsSync(join(libDir, "libtorch_cuda.so")),
  };
}

/** @returns {Libtorch | undefined} */
function ofDebian() {
  const version = versionIn("/usr/include");
  if (!version || !existsSync("/usr/include/ATen/core/dispatch/Dispatcher.h")) return undefined;
  const candidates = existsSync("/usr/lib") ? readdirSync("/usr/lib").filter((name) => name.includes("-linux-gnu")) : [];
  const libDir = [...candidates.map((name) => join("/usr/lib", name)), "/usr/lib64", "/usr/lib"].find((folder) =>
    existsSync(join(folder, "libtorch_cpu.so")),
  );
  if (!libDir) return undefined;
  return { kind: "debian", version, includeDirs: [], libDirs: [libDir], abi: 1, cuda: existsSync(join(libDir, "libtorch_cuda.so")) };
}

/**
 * Asks each Python where its torch lies, without importing it (which takes seconds).
 * @param {NodeJS.ProcessEnv} env
 * @returns {Generator<Libtorch>}
 */
function* ofPython(env) {
  const script = "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')";
  for (const python of new Set([env.ISOERG_PYTHON ?? "python3", "/usr/bin/python3"])) {
    const answer = spawnSync(python, ["-c", script], { encoding: "utf8", timeout: 20_000 });
    const folder = answer.status === 0 ? answer.stdout.trim() : "";
    const found = folder ? inFolder(folder, "python") : undefined;
    if (found) yield found;
  }
}

/** @param {string} includeDir */
function versionIn(includeDir) {
  for (const name of ["torch/csrc/api/include/torch/version.h", "torch/headeronly/version.h", "torch/version.h"]) {
    const path = join(includeDir, name);
    const text = existsSync(path) ? readFileSync(path, "utf8") : "";
    const parts = ["MAJOR", "MINOR", "PATCH"].map((part) => new RegExp(`#define TORCH_VERSION_${part} (\\d+)`).exec(text)?.[1]);
    if (parts.every((part) => part !== undefined)) return parts.join(".");
  }
  return undefined;
}

/**
 * The ABI of std::string that a library was compiled with: names of the new one carry __cxx11.
 * @param {string} library
 * @returns {0 | 1}
 */
function abiOf(library) {
  const names = spawnSync("nm", ["-DC", library], { encoding: "utf8", maxBuffer: 1 << 28 });
  return names.status === 0 && !names.stdout.includes("__cxx11") ? 0 : 1;
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
 * CUDA's headers: of a toolkit, or of the packages beside a Python installation's torch; and its compiler and static runtime, where
 * the toolkit has them.
 * @param {Libtorch} libtorch
 * @param {NodeJS.ProcessEnv} env
 * @returns {{ include: string, nvcc?: string, lib?: string } | undefined}
 */
export function findCuda(libtorch, env = process.env) {
  for (const home of [env.CUDA_HOME, env.CUDA_PATH, "/usr/local/cuda"]) {
    if (!home || !existsSync(join(home, "include", "cuda_runtime_api.h"))) continue;
    const [nvcc, lib] = [join(home, "bin", "nvcc"), join(home, "lib64")];
    const complete = existsSync(nvcc) && existsSync(join(lib, "libcudart_static.a"));
    return { include: join(home, "include"), ...(complete && { nvcc, lib }) };
  }
  for (const libDir of libtorch.libDirs) {
    for (const name of ["cu13", "cuda_runtime"]) {
      const include = join(libDir, "..", "..", "nvidia", name, "include");
      if (existsSync(join(include, "cuda_runtime_api.h"))) return { include };
    }
  }
  return undefined;
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
