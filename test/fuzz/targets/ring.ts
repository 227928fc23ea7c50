/** What comes in at a ring's open port: hellos and frame headers. */
import assert from "node:assert/strict";
import { decodeFrameHeader, encodeFrameHeader, FRAME_HEADER_BYTES } from "../../../src/collective/frames.js";
import { decodeHello, encodeHello } from "../../../src/collective/hello.js";
import { decodeGreeting, encodeGreeting, splitTokens } from "../../../src/collective/stream-handshake.js";
import { decodeStageHeader, STAGE_HEADER_BYTES, type StageHeader } from "../../../src/collective/stream-header.js";
import { IsoergError } from "../../../src/util/error.js";
import type { Target } from "../fuzz.js";

const PAYLOAD_BYTES = 4096;

/** A header of a stage as native code writes it (src/collective/stream-header.ts). */
function stageHeader(header: StageHeader): Uint8Array {
  const bytes = new Uint8Array(STAGE_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(Buffer.from("ISOS"));
  view.setUint16(4, 1, true);
  view.setUint16(6, header.round, true);
  view.setUint32(8, header.run, true);
  view.setUint32(12, header.generation, true);
  view.setBigUint64(16, BigInt(header.step), true);
  view.setBigUint64(24, BigInt(header.numValues), true);
  view.setBigUint64(32, BigInt(header.numBytes), true);
  view.setUint32(40, header.bucket, true);
  view.setUint32(44, header.sender, true);
  return bytes;
}

export const ringTargets: readonly Target[] = [
  {
    name: "ring hello (MessagePack)",
    kind: "bytes",
    refuses: ["PROTOCOL"],
    share: 12,
    seeds: () => [
      encodeHello({ run: 0, generation: 0, rank: 0, worldSize: 1 }),
      encodeHello({ run: 2 ** 32 - 1, generation: 70_000, rank: 3, worldSize: 300 }),
      encodeHello({ run: 0x12345678, generation: 200, rank: 127, worldSize: 128 }),
    ],
    read(input) {
      const hello = decodeHello(input);
      if (hello === undefined) throw new IsoergError("PROTOCOL", "no hello");
      assert(hello.rank < hello.worldSize);
      // Every value has one encoding, so that what was accepted is what a rank would have sent, its protocol number aside.
      assert.deepEqual(decodeHello(encodeHello(hello)), { ...hello, protocol: 3 });
      if (hello.protocol === 3) assert.deepEqual(Buffer.from(encodeHello(hello)), Buffer.from(input));
    },
  },
  {
    name: "ring frame header",
    kind: "bytes",
    refuses: ["PROTOCOL"],
    share: 12,
    seeds: () =>
      [0, 5, 2 ** 32, 2 ** 53 - 1].map((step) => {
        const bytes = new Uint8Array(FRAME_HEADER_BYTES);
        const header = { run: 2 ** 32 - 1, generation: 7, step, bucket: 1, round: 2, chunk: 3, sender: 1 };
        encodeFrameHeader(header, PAYLOAD_BYTES, new DataView(bytes.buffer));
        return bytes;
      }),
    read(input) {
      const decoded = decodeFrameHeader(input, PAYLOAD_BYTES, PAYLOAD_BYTES);
      if (!decoded.ok) throw new IsoergError("PROTOCOL", decoded.reason);
      const again = new Uint8Array(FRAME_HEADER_BYTES);
      encodeFrameHeader(decoded.header, decoded.payloadBytes, new DataView(again.buffer));
      assert.deepEqual(Buffer.from(again), Buffer.from(input));
    },
  },
  {
    name: "stream greeting",
    kind: "bytes",
    refuses: ["PROTOCOL"],
    share: 4,
    seeds: () =>
      [0, 1, 2 ** 32 - 1].map((sender) =>
        encodeGreeting({ run: 2 ** 32 - 1, generation: 3, sender, receiver: 1, nonce: new Uint8Array(16).fill(sender & 0xff) }),
      ),
    read(input) {
      const greeting = decodeGreeting(input);
      if (greeting === undefined) throw new IsoergError("PROTOCOL", "no greeting");
      assert.deepEqual(Buffer.from(encodeGreeting(greeting)), Buffer.from(input));
    },
  },
  {
    name: "stream stage header",
    kind: "bytes",
    refuses: ["PROTOCOL"],
    share: 4,
    seeds: () =>
      [0, 7, 2 ** 53 - 1].map((step) =>
        stageHeader({ round: 1000, run: 2 ** 32 - 1, generation: 3, step, numValues: 100, numBytes: 400, bucket: 1, sender: 2 }),
      ),
    read(input) {
      const header = decodeStageHeader(input);
      if (header === undefined) throw new IsoergError("PROTOCOL", "no header");
      assert.deepEqual(Buffer.from(stageHeader(header)), Buffer.from(input));
    },
  },
  {
    name: "stream tokens behind endpoints",
    kind: "bytes",
    refuses: ["PROTOCOL"],
    share: 4,
    seeds: () =>
      ["tcp://10.0.0.1:4000#00112233445566778899aabbccddeeff", "tcp://a:1", "", "tcp://[::1]:65535#ffffffffffffffffffffffffffffffff"].map(
        (endpoint) => Buffer.from(endpoint),
      ),
    read(input) {
      const text = Buffer.from(input).toString("latin1");
      const { endpoints, secret } = splitTokens([text], { run: 1, generation: 2 });
      assert(!(endpoints[0] as string).includes("#"));
      assert.equal(secret !== null, /#[0-9a-f]{32}(#|$)/.test(text));
    },
  },
];
