/** Which libtorch is taken: the one that was named, else the first found, and where there is a GPU the first with CUDA. */
import { describe, expect, it } from "vitest";
import type { Libtorch } from "../../src/engine/torch/libtorch.js";
import { buildModule } from "../../src/engine/torch/start.js";

const { findLibtorch } = await buildModule();

const debian: Libtorch = { kind: "debian", version: "1.13.0", includeDirs: [], libDirs: ["/usr/lib"], abi: 1, cuda: false };
const unpacked: Libtorch = { ...debian, kind: "folder", version: "2.11.0", cuda: true };
const python: Libtorch = { ...debian, kind: "python", version: "2.14.1", cuda: true };
const search = (gpu: boolean, candidates: readonly Libtorch[]) => findLibtorch({ env: {}, gpu, candidates: () => candidates });

describe("the search for a libtorch", () => {
  it("takes the first without a GPU, and looks no further", () => {
    let numAsked = 0;
    const found = findLibtorch({
      env: {},
      gpu: false,
      candidates: function* () {
        for (const one of [debian, python]) {
          numAsked++;
          yield one;
        }
      },
    });
    expect(found).toEqual({ ok: true, libtorch: debian, why: "the first found" });
    expect(numAsked).toBe(1);
  });

  it("prefers one with CUDA where a GPU is present, and says so", () => {
    expect(search(true, [debian, unpacked, python])).toMatchObject({
      libtorch: { kind: "folder" },
      why: expect.stringContaining("with CUDA"),
    });
    expect(search(true, [debian])).toMatchObject({ libtorch: { kind: "debian" }, why: expect.stringContaining("no libtorch with CUDA") });
  });

  it("takes no other than the one that was named", () => {
    const found = findLibtorch({ env: { LIBTORCH: "/nowhere/libtorch" }, gpu: false, candidates: () => [debian] });
    expect(found).toMatchObject({ ok: false, reason: expect.stringContaining("/nowhere/libtorch has no include/ATen") });
  });

  it("names all places when there is none", () => {
    expect(search(false, [])).toMatchObject({ ok: false, reason: expect.stringMatching(/LIBTORCH.*Debian.*\/opt\/libtorch.*Python/) });
  });
});
