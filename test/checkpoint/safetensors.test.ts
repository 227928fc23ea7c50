/** The format against files written by hand from its specification, against mutations, and against everything it forbids. */

import { describe, expect, it } from "vitest";
import { encodeSafetensors, type HostTensor, parseSafetensors, type Tensors } from "../../src/checkpoint/safetensors.js";
import { IsoergError } from "../../src/util/error.js";
import * as fc from "../kit/property.js";

/** A file from a header's text and data, with no help from the code under test. */
function fileOf(header: string | object, data: readonly number[] = [], padding = ""): Uint8Array {
  const text = Buffer.from((typeof header === "string" ? header : JSON.stringify(header)) + padding);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.from(data)]);
}

const tensorsArbitrary = fc
  .uniqueArray(
    fc.record({
      name: fc.oneof(fc.string({ unit: "binary", maxLength: 12 }), fc.constantFrom("__proto__", "1", 'a"b', "constructor")),
      shape: fc.array(fc.nat(4), { maxLength: 3 }),
      dtype: fc.constantFrom("F64", "F32", "F16", "BF16", "I64", "U64", "I32", "U32", "I16", "U16", "I8", "U8", "BOOL" as const),
      salt: fc.nat(255),
    }),
    { selector: (entry) => entry.name, maxLength: 6 },
  )
  .map(
    (entries) =>
      new Map(
        entries.filter(({ name }) => name !== "__metadata__" && name.isWellFormed()).map(({ name, ...rest }) => [name, tensorOf(rest)]),
      ),
  );

function tensorOf({ shape, dtype, salt }: { shape: number[]; dtype: HostTensor["dtype"]; salt: number }): HostTensor {
  const size = shape.reduce((a, b) => a * b, 1);
  const byte = (i: number): number => (salt + 31 * i) % 120;
  switch (dtype) {
    case "F64":
      return { dtype, shape, data: Float64Array.from({ length: size }, (_, i) => byte(i) / 7) };
    case "F32":
      return { dtype, shape, data: Float32Array.from({ length: size }, (_, i) => byte(i) / 7) };
    case "I64":
      return { dtype, shape, data: BigInt64Array.from({ length: size }, (_, i) => -BigInt(byte(i))) };
    case "U64":
      return { dtype, shape, data: BigUint64Array.from({ length: size }, (_, i) => BigInt(byte(i))) };
    case "I32":
      return { dtype, shape, data: Int32Array.from({ length: size }, (_, i) => -byte(i)) };
    case "U32":
      return { dtype, shape, data: Uint32Array.from({ length: size }, (_, i) => byte(i)) };
    case "I16":
      return { dtype, shape, data: Int16Array.from({ length: size }, (_, i) => -byte(i)) };
    case "I8":
      return { dtype, shape, data: Int8Array.from({ length: size }, (_, i) => -byte(i)) };
    case "F16":
    case "BF16":
    case "U16":
      return { dtype, shape, data: Uint16Array.from({ length: size }, (_, i) => byte(i)) };
    case "U8":
    case "BOOL":
      return { dtype, shape, data: Uint8Array.from({ length: size }, (_, i) => byte(i)) };
  }
}

const sorted = (tensors: Tensors) => [...tensors].sort(([a], [b]) => (a < b ? -1 : 1));

describe("safetensors", () => {
  it("reads a file as the specification lays it out", () => {
    const file = fileOf(
      {
        __metadata__: { author: "hand" },
        b: { dtype: "I16", shape: [2], data_offsets: [4, 8] },
        a: { dtype: "F32", shape: [], data_offsets: [0, 4] },
      },
      [0, 0, 0x80, 0x3f, 1, 0, 0xff, 0xff],
      "   ",
    );
    const { tensors, metadata } = parseSafetensors(file, "hand.safetensors");
    expect(metadata).toEqual({ author: "hand" });
    expect(tensors.get("a")).toEqual({ dtype: "F32", shape: [], data: Float32Array.of(1) });
    expect(tensors.get("b")).toEqual({ dtype: "I16", shape: [2], data: Int16Array.of(1, -1) });
  });

  it("writes what it reads, for all dtypes, shapes and names, aligned", () => {
    fc.assert(
      fc.property(tensorsArbitrary, fc.nat(7), (tensors, shift) => {
        const bytes = encodeSafetensors(tensors, { step: "3" });
        const headerBytes = Number(new DataView(bytes.buffer).getBigUint64(0, true));
        expect(headerBytes % 8).toBe(0);
        const moved = new Uint8Array(bytes.length + shift); // as part of a larger, unaligned buffer
        moved.set(bytes, shift);
        const read = parseSafetensors(moved.subarray(shift), "x");
        expect(sorted(read.tensors)).toEqual(sorted(tensors));
        expect(read.metadata).toEqual({ step: "3" });
      }),
    );
  });

  it("takes a mutated file for what it says or refuses it by name, and never fails otherwise", () => {
    const base = encodeSafetensors(
      new Map<string, HostTensor>([
        ["conv.weight", { dtype: "F32", shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }],
        ["ids", { dtype: "U8", shape: [3], data: Uint8Array.of(7, 8, 9) }],
      ]),
    );
    let numRefused = 0;
    const edits = fc.array(
      fc.record({
        at: fc.nat(base.length - 1),
        kind: fc.constantFrom("set", "delete", "insert", "cut" as const),
        byte: fc.oneof(fc.nat(255), fc.constantFrom(0x22, 0x30, 0x39, 0x7b, 0x2c)),
      }),
      { minLength: 1, maxLength: 4 },
    );
    fc.assert(
      fc.property(edits, (edits) => {
        const bytes = [...base];
        for (const { at, kind, byte } of edits) {
          if (kind === "set") bytes[at % bytes.length] = byte;
          else if (kind === "cut") bytes.length = Math.max(1, at % (bytes.length + 1));
          else bytes.splice(at, kind === "delete" ? 1 : 0, ...(kind === "insert" ? [byte] : []));
        }
        try {
          const { tensors } = parseSafetensors(Uint8Array.from(bytes), "mutant");
          for (const { shape, data } of tensors.values()) expect(data.length).toBe(shape.reduce((a, b) => a * b, 1));
        } catch (error) {
          numRefused++;
          expect(error).toBeInstanceOf(IsoergError);
          expect((error as IsoergError).message).toMatch(/^mutant: not a valid safetensors file: ./);
        }
      }),
      { numRuns: 1500 },
    );
    expect(numRefused).toBeGreaterThan(100);
  });

  const one = { dtype: "U8", shape: [2], data_offsets: [0, 2] };
  const huge = Buffer.alloc(8);
  huge.writeBigUInt64LE(100_000_001n);
  it.each<[string, Uint8Array, string]>([
    ["an empty file", new Uint8Array(0), "too few"],
    ["a header over the limit", Buffer.concat([huge, Buffer.alloc(64)]), "the limit is 100000000"],
    ["a header longer than the file", fileOf("{}").subarray(0, 9), "the file has 1 after"],
    ["a header that is not JSON", fileOf("{nonsense"), "not JSON"],
    ["a header in another encoding", fileOf("{}").fill(0xff, 9), "not JSON in UTF-8"],
    ["a list for a header", fileOf("[]"), "not a JSON object"],
    ["blanks before the header", fileOf("  {}"), "not a JSON object"],
    ["the same name twice", fileOf(`{"a":${JSON.stringify(one)},"\\u0061":${JSON.stringify(one)}}`, [1, 2]), "names 'a' twice"],
    ["an unknown dtype", fileOf({ a: { ...one, dtype: "U9" } }, [1, 2]), 'unknown dtype "U9"'],
    ["a dtype of the prototype's", fileOf({ a: { ...one, dtype: "toString" } }, [1, 2]), "unknown dtype"],
    ["a negative size", fileOf({ a: { ...one, shape: [-2] } }, [1, 2]), "shape"],
    ["a shape that overflows", fileOf({ a: { ...one, shape: [2 ** 40, 2 ** 40] } }, [1, 2]), "too large"],
    ["offsets that contradict the shape", fileOf({ a: { ...one, shape: [3] } }, [1, 2]), "takes 3 bytes, but its offsets span 2"],
    ["offsets in reverse", fileOf({ a: { ...one, data_offsets: [2, 0] } }, [1, 2]), "span -2"],
    ["three offsets", fileOf({ a: { ...one, data_offsets: [0, 1, 2] } }, [1, 2]), "not two counts"],
    ["an unknown field", fileOf({ a: { ...one, stride: 1 } }, [1, 2]), "unknown field 'stride'"],
    ["tensors that overlap", fileOf({ a: one, b: { ...one, data_offsets: [1, 3] } }, [1, 2, 3]), "overlaps another at byte 1"],
    ["a hole", fileOf({ a: one, b: { ...one, data_offsets: [3, 5] } }, [1, 2, 3, 4, 5]), "bytes 2 to 3 belong to no tensor"],
    ["data that end early", fileOf({ a: one }, [1]), "ends 1 bytes early"],
    ["data left over", fileOf({ a: one }, [1, 2, 3]), "1 bytes follow"],
    ["metadata that are not texts", fileOf({ __metadata__: { a: 1 } }), "__metadata__ is not a map"],
  ])("refuses %s", (_, bytes, message) => {
    expect(() => parseSafetensors(bytes, "f")).toThrow(IsoergError);
    expect(() => parseSafetensors(bytes, "f")).toThrow(message);
  });

  it("takes a file without tensors", () => {
    expect(parseSafetensors(encodeSafetensors(new Map()), "f").tensors.size).toBe(0);
  });
});
