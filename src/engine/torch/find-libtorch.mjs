// @ts-check
/**
 * Finds a libtorch on this machine, and CUDA's headers for it. Plain JavaScript, because set-up and `isoerg doctor` run it
 * before (and without) the TypeScript build. Nothing is loaded or imported: files and folders are looked at.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** @typedef {import("./libtorch.js").Libtorch} Libtorch */
/** @typedef {import("./libtorch.js").LibtorchSearch} LibtorchSearch */

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
