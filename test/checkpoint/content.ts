/** Checkpoint contents that differ by step, for the suites of this folder. */
import type { CheckpointContent } from "../../src/checkpoint/store.js";

export function contentOf(step: number): CheckpointContent {
  const ramp = Float32Array.from({ length: 6 }, (_, i) => step + i / 8);
  return {
    files: {
      model: new Map([
        ["stage1.weight", { dtype: "F32", shape: [2, 3], data: ramp }],
        ["stage1.bias", { dtype: "F32", shape: [0], data: new Float32Array(0) }],
      ]),
      optimizer: new Map([["momentum", { dtype: "F32", shape: [6], data: ramp.map((x) => -x) }]]),
      buffer: new Map([
        ["chains", { dtype: "U8", shape: [3, 1], data: Uint8Array.of(step % 256, 2, 3) }],
        ["ages", { dtype: "I32", shape: [3], data: Int32Array.of(step, -1, 7) }],
      ]),
    },
    state: { step, nested: { list: [1, "two", null] } },
  };
}
