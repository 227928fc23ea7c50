/** What comes in at a ring's open port: hellos and frame headers. */
import assert from "node:assert/strict";
import { decodeFrameHeader, encodeFrameHeader, FRAME_HEADER_BYTES } from "../../../src/collective/frames.js";
import { decodeHello, encodeHello } from "../../../src/collective/hello.js";
import { IsoergError } from "../../../src/util/error.js";
import type { Target } from "../fuzz.js";

const PAYLOAD_BYTES = 4096;

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
      assert.deepEqual(decodeHello(encodeHello(hello)), { ...hello, protocol: 2 });
      if (hello.protocol === 2) assert.deepEqual(Buffer.from(encodeHello(hello)), Buffer.from(input));
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
];
