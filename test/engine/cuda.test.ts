/**
 * The parts of the torch engine that need CUDA, as far as a machine without a GPU can hold them: the translation unit type-checks
 * against libtorch's and CUDA's headers, the noise kernel compiles for the GPUs that it is for, and the values that it computes,
 * which are plain C++, are those of the TypeScript streams. Skipped, with the reason, where headers or compilers are missing.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { fillNormal, fillUniform } from "../../src/engine/random/philox.js";
import { buildModule } from "../../src/engine/torch/start.js";
import { packageRoot } from "../../src/util/package.js";

const { findCuda, findLibtorch } = await buildModule();
const search = findLibtorch();
const cuda = search.ok ? findCuda(search.libtorch) : undefined;
const native = join(packageRoot, "src", "engine", "torch", "native");
const folder = mkdtempSync(join(tmpdir(), "isoerg-cuda-"));
const compiler = spawnSync("g++", ["--version"]).status === 0 ? "g++" : undefined;

afterAll(() => rmSync(folder, { recursive: true }));

function run(program: string, words: readonly string[]): string {
  const done = spawnSync(program, [...words], { encoding: "utf8", maxBuffer: 1 << 26 });
  expect(done.stderr.split("\n").filter((line) => /error/.test(line))).toEqual([]);
  expect(done.status).toBe(0);
  return done.stdout;
}

describe("the CUDA parts of the torch engine", () => {
  const missing = !search.ok
    ? "no libtorch"
    : !cuda
      ? "no CUDA headers"
      : !compiler
        ? "no g++"
        : !hasCudaHeaders()
          ? "a libtorch without CUDA's headers"
          : null;

  /** Debian's libtorch is built without CUDA but has the headers, all but one that is made when CUDA is configured. */
  function hasCudaHeaders(): boolean {
    return (
      search.ok && [...search.libtorch.includeDirs, "/usr/include"].some((dir) => existsSync(join(dir, "ATen", "cuda", "CUDAGraph.h")))
    );
  }

  it.skipIf(missing !== null)(
    `type-check: the bridge with noise and recordings on a GPU${missing ? ` (skipped: ${missing})` : ""}`,
    { timeout: 180_000 },
    () => {
      if (!search.ok || !cuda) return;
      const made = join(folder, "c10", "cuda", "impl");
      mkdirSync(made, { recursive: true });
      writeFileSync(join(made, "cuda_cmake_macros.h"), "#pragma once\n#define C10_CUDA_BUILD_SHARED_LIBS\n");
      const headers = dirname(createRequire(join(packageRoot, "package.json")).resolve("node-api-headers/include/node_api.h"));
      const includes = [headers, ...search.libtorch.includeDirs, cuda.include, folder].flatMap((dir) => ["-isystem", dir]);
      const defines = ["-DNAPI_VERSION=8", "-DISOERG_CUDA", "-DISOERG_CUDA_NOISE"];
      run("g++", ["-std=c++17", "-w", "-fsyntax-only", ...defines, ...includes, join(native, "bridge.cc")]);
    },
  );

  it.skipIf(!cuda?.nvcc)("compile: the noise kernel, for Ampere and Hopper", { timeout: 120_000 }, () => {
    const object = join(folder, "philox.o");
    const codes = ["arch=compute_80,code=sm_80", "arch=compute_90,code=[sm_90,compute_90]"].flatMap((code) => ["-gencode", code]);
    run(cuda?.nvcc ?? "", ["-std=c++17", "-O3", ...codes, "-c", join(native, "philox.cu"), "-o", object]);
    expect(existsSync(object)).toBe(true);
  });

  it.skipIf(!compiler)("compute the values of the TypeScript streams, counter by counter", { timeout: 60_000 }, () => {
    const source = join(folder, "values.cc");
    writeFileSync(
      source,
      `#include <stdio.h>
#include "philox_math.h"
using namespace isoerg;
int main() {
  uint32_t word[4];
  philoxWords(PhiloxKey{0, 0, 0, 0}, 0, 0, word); // Random123's known answer for a counter and key of zeros
  printf("%08x %08x %08x %08x\\n", word[0], word[1], word[2], word[3]);
  for (uint32_t block = 0; block < 50; block++) {
    float uniform[4], normal[4];
    philoxWords(PhiloxKey{0x76543210u, 0xfedcba98u, 123456u, 9u * 16777216u + 77u}, 2147483647u, block, word);
    uniformValues(word, uniform), normalValues(word, normal);
    for (int i = 0; i < 4; i++) printf("%.9g %.9g\\n", uniform[i], normal[i]);
  }
}`,
    );
    const program = join(folder, "values");
    run("g++", ["-std=c++17", "-O2", "-I", native, source, "-o", program]);
    const [known, ...lines] = run(program, []).trim().split("\n");
    expect(known).toBe("6627e8d5 e169c58d bc57ac4c 9b00dbd8");
    const key = { seed: 0xfedcba9876543210n, purpose: 9, step: 123456, inner: 77, position: 2 ** 31 - 1 };
    const [uniform, normal] = [new Float32Array(200), new Float32Array(200)];
    fillUniform(uniform, key);
    fillNormal(normal, key);
    expect(lines).toHaveLength(200);
    for (const [i, line] of lines.entries()) {
      const [u, n] = line.split(" ").map(Number) as [number, number];
      expect(Math.fround(u)).toBe(uniform[i]);
      expect(Math.abs(n - (normal[i] as number))).toBeLessThanOrEqual(2 ** -22);
    }
  });
});
