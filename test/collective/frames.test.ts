/** Bytes before a vector, and hellos: what is written is read, and nothing else is. */

import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { decodeFrameHeader } from "../../src/collective/frames.js";
import { decodeHello, encodeHello, RING_PROTOCOL } from "../../src/collective/hello.js";
import * as fc from "../kit/property.js";
import { headerBytes } from "./rings.js";

const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const header = fc.record({
  run: uint32,
  generation: uint32,
  step: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  bucket: uint32,
  round: uint32,
  chunk: uint32,
  sender: uint32,
});
const MAX_BYTES = 1 << 20;

describe("a frame's header", () => {
  it("is read as it was written", () => {
    fc.assert(
      fc.property(header, fc.integer({ min: 0, max: 1 << 18 }), (written, numValues) => {
        const decoded = decodeFrameHeader(headerBytes(written, numValues * 4), numValues * 4, MAX_BYTES);
        expect(decoded).toEqual({ ok: true, header: written, payloadBytes: numValues * 4 });
      }),
    );
  });

  it("stands in the documented places", () => {
    const bytes = headerBytes({ run: 0x01020304, generation: 2, step: 2 ** 32 + 5, bucket: 6, round: 7, chunk: 8, sender: 9 }, 40);
    expect(Buffer.from(bytes).toString("hex")).toBe(
      [
        "49534f46",
        "0100",
        "0000",
        "04030201",
        "02000000",
        "0500000001000000",
        "06000000",
        "07000000",
        "08000000",
        "09000000",
        "28000000",
      ].join(""),
    );
  });

  it("is refused for any bytes that are not one", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(1 << 21), (bytes, payloadBytes) => {
        expect(decodeFrameHeader(bytes, payloadBytes, MAX_BYTES).ok).toBe(false);
      }),
      { numRuns: 1000 },
    );
  });

  it.each([
    ["the payload is shorter than told", 36, /payload of 36 bytes where the header says 40/],
    ["the payload is longer than told", 44, /where the header says 40/],
  ])("is refused when %s", (_, payloadBytes, reason) => {
    const bytes = headerBytes({ run: 1, generation: 1, step: 1, bucket: 0, round: 0, chunk: 0, sender: 0 }, 40);
    expect(decodeFrameHeader(bytes, payloadBytes, MAX_BYTES)).toMatchObject({ ok: false, reason: expect.stringMatching(reason) });
  });

  it("is refused when the payload is larger than agreed or not of float32", () => {
    const place = { run: 1, generation: 1, step: 1, bucket: 0, round: 0, chunk: 0, sender: 0 };
    expect(decodeFrameHeader(headerBytes(place, MAX_BYTES + 4), MAX_BYTES + 4, MAX_BYTES)).toMatchObject({ ok: false });
    expect(decodeFrameHeader(headerBytes(place, 6), 6, MAX_BYTES)).toMatchObject({ ok: false });
  });

  it.each([
    ["magic", 0],
    ["version", 4],
    ["element type", 6],
    ["step beyond 2^53", 23],
    ["length", 41],
  ])("is refused when its %s is altered", (_, offset) => {
    const bytes = headerBytes({ run: 1, generation: 1, step: 1, bucket: 0, round: 0, chunk: 0, sender: 0 }, 40);
    bytes[offset] = 0x7f;
    expect(decodeFrameHeader(bytes, 40, MAX_BYTES).ok).toBe(false);
  });
});

describe("a hello", () => {
  const place = { run: 0xfeedface, generation: 3, rank: 1, worldSize: 4 };

  it("is read as it was written", () => {
    expect(decodeHello(encodeHello(place))).toEqual({ ...place, protocol: RING_PROTOCOL });
  });

  it.each([
    ["a rank outside of the world", { ...place, rank: 4, protocol: 1 }],
    ["a negative generation", { ...place, generation: -1, protocol: 1 }],
    ["a missing field", place],
    ["a text for a number", { ...place, run: "1", protocol: 1 }],
    ["a list", [1, 2, 3]],
    ["nothing", null],
  ])("is refused with %s", (_, value) => {
    expect(decodeHello(new Packr({ useRecords: false }).pack(value))).toBeUndefined();
  });

  it("is refused for any bytes that are not one", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(decodeHello(bytes)).toBeUndefined();
      }),
      { numRuns: 1000 },
    );
  });
});
