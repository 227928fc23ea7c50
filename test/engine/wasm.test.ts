/** The wasm engine, with its own convolution gradients. */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { ops } from "../../src/engine/ops.js";
import { startWasm } from "../../src/engine/wasm.js";
import { opsContract } from "./ops-contract.js";
import { expectClose, take, tensor, values } from "./values.js";

opsContract("wasm", startWasm);

describe("the wasm backend's new kernels", () => {
  beforeAll(async () => {
    await startWasm();
  });

  it.each(["same", "valid", 2] as const)("take padding %s like the cpu backend's", async (pad) => {
    const gradients = () =>
      tf.tidy(() => {
        const x = tensor<Tensor4D>(values(2 * 9 * 8 * 3, 1), [2, 9, 8, 3]);
        const filter = tensor<Tensor4D>(values(3 * 3 * 3 * 4, 2), [3, 3, 3, 4]);
        const dy = tf.conv2d(x, filter, 2, pad);
        const attributes = { strides: [2, 2], pad, dataFormat: "NHWC", filterShape: filter.shape };
        const df: Tensor4D = tf.engine().runKernel(tf.Conv2DBackpropFilter, { x, dy }, attributes);
        return [take(tf.conv2dTranspose(dy, filter, x.shape, 2, pad)), take(df)] as const;
      });
    const got = gradients();
    await tf.setBackend("cpu");
    const expected = gradients();
    await tf.setBackend("wasm");
    expectClose(got[0], expected[0], 5e-6);
    expectClose(got[1], expected[1], 5e-6);
  });

  it("give the heap back: it stops growing", () => {
    const heap = () => (tf.backend() as unknown as { wasm: { HEAPU8: Uint8Array } }).wasm.HEAPU8.length;
    const shape: [number, number, number, number] = [16, 16, 16, 16];
    const x = tf.randomNormal<tf.Rank.R4>(shape);
    const filter = tf.randomNormal<tf.Rank.R4>([3, 3, 16, 16]);
    const passes = (count: number) => {
      for (let i = 0; i < count; i++) {
        const laidOut = ops().layoutFilter(filter, "fp32");
        const y = ops().conv2d(x, laidOut, null, { stride: 1, padding: 1 });
        const dx = ops().conv2dInputGrad(y, laidOut, shape, { stride: 1, padding: 1 });
        const df = ops().conv2dFilterGrad(x, y, [3, 3, 16, 16], { stride: 1, padding: 1 });
        tf.dispose([laidOut, y, dx, df]);
      }
    };
    passes(20);
    const before = heap();
    passes(200);
    expect(heap()).toBe(before);
    tf.dispose([x, filter]);
  });
});
