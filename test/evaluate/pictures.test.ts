/** Grids and NumPy files: decoded again by other programs, or by the published layout. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PNG } from "pngjs";
import { describe, expect, it } from "vitest";
import { gridPng, scaleFor } from "../../src/evaluate/grid.js";
import { npy, npz } from "../../src/evaluate/npz.js";
import { crc32, crc32c } from "../../src/util/crc32.js";

describe("gridPng", () => {
  it("places enlarged tiles in rows with one pixel of gap", () => {
    const data = Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1); // one pixel each: red, green, blue
    const png = PNG.sync.read(gridPng({ shape: [1, 1, 3], numImages: 3, data }, { columns: 2, scale: 3 }));
    expect([png.width, png.height]).toEqual([7, 7]);
    const pixel = (x: number, y: number): number[] => [...png.data.subarray((y * png.width + x) * 4, (y * png.width + x) * 4 + 3)];
    expect(pixel(0, 0)).toEqual([255, 0, 0]);
    expect(pixel(2, 2)).toEqual([255, 0, 0]);
    expect(pixel(3, 0)).toEqual([255, 255, 255]);
    expect(pixel(4, 0)).toEqual([0, 255, 0]);
    expect(pixel(1, 5)).toEqual([0, 0, 255]);
    expect(pixel(5, 5)).toEqual([255, 255, 255]);
  });

  it("shows one channel as grey, bytes as they are, and clamps", () => {
    const grey = PNG.sync.read(gridPng({ shape: [1, 2, 1], numImages: 1, data: Uint8Array.of(7, 200) }, { columns: 1, scale: 1 }));
    expect([...grey.data]).toEqual([7, 7, 7, 255, 200, 200, 200, 255]);
    const clamped = PNG.sync.read(gridPng({ shape: [1, 2, 1], numImages: 1, data: Float32Array.of(-1, 2) }, { columns: 1, scale: 1 }));
    expect([clamped.data[0], clamped.data[4]]).toEqual([0, 255]);
    expect(scaleFor({ shape: [32, 32, 3] }, 10, 640)).toBe(2);
  });
});

const python = ["/usr/bin/python3", "python3"].find((name) => spawnSync(name, ["-c", "import numpy"]).status === 0);

describe("npz", () => {
  it("lays a .npy out as its format says", () => {
    const bytes = Buffer.from(npy({ shape: [2], data: Int32Array.of(1, -2) }));
    expect(bytes.subarray(0, 8).toString("latin1")).toBe("\x93NUMPY\x01\x00");
    const headerEnd = 10 + bytes.readUInt16LE(8);
    expect(headerEnd % 64).toBe(0);
    expect(bytes.subarray(10, headerEnd).toString().trimEnd()).toBe("{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }");
    expect(bytes[headerEnd - 1]).toBe(0x0a);
    expect(bytes.readInt32LE(headerEnd + 4)).toBe(-2);
  });

  it.skipIf(python === undefined)("is read by NumPy, checksums included", () => {
    const folder = mkdtempSync(join(tmpdir(), "isoerg-npz-"));
    try {
      const file = join(folder, "a.npz");
      writeFileSync(
        file,
        npz({
          images: { shape: [1, 2, 2], data: Float32Array.of(0, 0.25, 0.5, 1) },
          energies: { shape: [2], data: Float64Array.of(-1.5, 1 / 3) },
          labels: { shape: [3], data: Uint8Array.of(1, 2, 255) },
        }),
      );
      const script =
        "import numpy, zipfile, json, sys\nassert zipfile.ZipFile(sys.argv[1]).testzip() is None\na = numpy.load(sys.argv[1])\nprint(json.dumps({k: [str(a[k].dtype), a[k].tolist()] for k in a.files}))";
      expect(JSON.parse(execFileSync(python as string, ["-c", script, file], { encoding: "utf8" }))).toEqual({
        images: [
          "float32",
          [
            [
              [0, 0.25],
              [0.5, 1],
            ],
          ],
        ],
        energies: ["float64", [-1.5, 1 / 3]],
        labels: ["uint8", [1, 2, 255]],
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("cyclic redundancy checks", () => {
  it("equal the published check values of '123456789' and RFC 3720's vectors", () => {
    const digits = Buffer.from("123456789");
    expect(crc32(digits)).toBe(0xcbf43926);
    expect(crc32c(digits)).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa); // RFC 3720, B.4: 32 bytes of zeros
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  });
});
