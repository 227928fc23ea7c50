/** What the torch engine says when memory runs out or a GPU fails: what happened, how much was asked for, what to do. */
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { bridge } from "../../src/engine/torch/bridge.js";
import { explained } from "../../src/engine/torch/failure.js";
import { startTestTorch, torchMissing } from "./torch-kit.js";

const missing = await torchMissing();

describe("failures of libtorch", () => {
  it.skipIf(missing !== null)("name the tensors, the bytes and the settings when memory runs out, and lose nothing", async () => {
    await startTestTorch();
    const live = bridge().memory(-1).live;
    // More than there are addresses: a system that promises any memory it is asked for (a Kubernetes node does) refuses this too.
    const column = tf.ones([1 << 23, 1]);
    const row = tf.ones([1, 1 << 23]);
    expect(() => tf.matMul(column, row)).toThrow(
      expect.objectContaining({
        code: "ENGINE",
        message: expect.stringMatching(/out of memory: 281474976710656 bytes .*Float \[8388608,1\].*; the machine has [\d.]+ GiB left/),
        hint: expect.stringMatching(/memory\.microBatch.*data\.batchSize.*sampler\.chains.*precision\.inner/),
      }),
    );
    expect(tf.add(column, column).dataSync()[5]).toBe(2);
    tf.dispose([column, row]);
    tf.disposeVariables();
    expect(bridge().memory(-1).live - live).toBeLessThanOrEqual(1);
  });

  it.each([
    [
      "CUDA out of memory. Tried to allocate 20.00 GiB (GPU 0; 79.15 GiB total capacity; 1.12 GiB free)",
      /CUDA out of memory.*1\.12 GiB free\)$/,
      /microBatch/,
    ],
    ["Found no NVIDIA driver on your system", /driver is not there/, /nvidia-smi/],
    ["CUDA error: invalid device ordinal", /there is no such GPU/, /nvidia-smi -L/],
    ["CUDA error: no kernel image is available for execution on the device", /architecture/, /LIBTORCH/],
    ["Could not run 'aten::empty.memory_format' with arguments from the 'CUDA' backend", /without CUDA/, /LIBTORCH/],
    ["CUDA error: an illegal memory access was encountered", /the GPU failed/, /Xid/],
  ])("explain '%s'", (text, message, hint) => {
    expect(explained(new Error(text))).toMatchObject({
      code: "ENGINE",
      message: expect.stringMatching(message),
      hint: expect.stringMatching(hint),
    });
  });

  it("leave everything else as it was", () => {
    const error = new Error("The size of tensor a (3) must match the size of tensor b (4)");
    expect(explained(error)).toBe(error);
  });
});
