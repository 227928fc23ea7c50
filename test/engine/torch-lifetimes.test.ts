/**
 * What the torch engine promises about lifetimes and storage: nothing leaks, nothing is used after its end, errors say what
 * happened, worker threads are apart, bfloat16 is stored as such. Skipped, with the reason, where there is no libtorch.
 */

import { Worker } from "node:worker_threads";
import type { Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import type { Engine } from "../../src/engine/engine.js";
import { ops } from "../../src/engine/ops.js";
import { draws, fillNormal, fillUniform } from "../../src/engine/random/philox.js";
import { aten } from "../../src/engine/torch/aten.js";
import { bridge } from "../../src/engine/torch/bridge.js";
import { buildModule } from "../../src/engine/torch/start.js";
import { scope, stridesOf } from "../../src/engine/torch/value.js";
import { startTestTorch, torchMissing } from "./torch-kit.js";

const missing = await torchMissing();

if (missing) describe.skip("lifetimes in the torch engine", () => it.skip(`skipped: ${missing}`, () => {}));
else {
  describe("lifetimes in the torch engine", () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await startTestTorch();
    });

    it("holds the same number of tensors and bytes after a thousand small steps", () => {
      const geometry = { stride: 1, padding: 1 };
      const weights = tf.randomNormal([3, 3, 2, 4]) as Tensor4D;
      const filter = ops().layoutFilter(weights, "fp32");
      const step = (): void => {
        tf.tidy(() => {
          const x = ops().noise("normal", { seed: 1n, purpose: 1, step: 0, inner: 0, positions: Int32Array.of(0, 1) }, [5, 5, 2]);
          const y = ops().conv2d(x as Tensor4D, filter, null, geometry);
          const z = ops().activation(y, { kind: "silu" });
          const dy = ops().activationGrad(y, z, { kind: "silu" });
          const gamma = tf.ones([4]) as Tensor1D;
          const { y: normal, mean, rstd } = ops().groupNorm(dy, gamma, gamma, 2, 1e-5);
          ops().groupNormGrad(normal, dy, mean, rstd, gamma, 2, "all");
          ops().conv2dInputGrad(dy, filter, x.shape, geometry);
          ops().conv2dFilterGrad(x as Tensor4D, dy, [3, 3, 2, 4], geometry);
          tf.mean(tf.square(tf.conv2d(x as Tensor4D, weights, 1, "same"))).dataSync();
          tf.topk(tf.reshape(z, [-1]), 3);
        });
      };
      for (let i = 0; i < 10; i++) step();
      const before = engine.memory();
      for (let i = 0; i < 1000; i++) step();
      const after = engine.memory();
      expect([after.numTensors, after.bytes]).toEqual([before.numTensors, before.bytes]);
      tf.dispose([weights, filter]);
    });

    it("keeps freed memory for reuse, within half as much again as tensors ever held at once, or 64 MiB more", () => {
      // Together some 900 MB, in many sizes.
      for (let size = 1; size < 400; size++) tf.tidy(() => void tf.fill([size, 1 + ((size * 7919) % 3000)], 1));
      const { bytes, peakBytes, cachedBytes } = bridge().memory(-1);
      expect(cachedBytes).toBeGreaterThan(0);
      expect(bytes + cachedBytes).toBeLessThanOrEqual(peakBytes + Math.max(peakBytes / 2, 2 ** 26));
      bridge().trim();
      expect(bridge().memory(-1).cachedBytes).toBe(0);
    });

    it("serves large tensors of one size from the memory that others left", () => {
      const megabytes = (count: number, each: number) => Array.from({ length: count }, () => tf.zeros([each, 2 ** 18]));
      bridge().trim();
      bridge().resetPeak(-1);
      const before = bridge().memory(-1).bytes;
      for (const [count, each] of [
        [48, 1],
        [12, 4],
        [3, 16],
        [48, 1],
        [5, 9],
      ] as const)
        tf.dispose(megabytes(count, each));
      const { bytes, peakBytes, cachedBytes } = bridge().memory(-1);
      expect(bytes).toBe(before);
      expect(peakBytes - before).toBeLessThan(49 * 2 ** 20);
      // Headers apart, all of them had the same 48 MiB.
      expect(cachedBytes).toBeLessThan(49 * 2 ** 20);
      expect(cachedBytes).toBeGreaterThan(47 * 2 ** 20);
    });

    it("gives no two tensors the same place, whatever order they come and go in, trimmed or not", () => {
      const held: { values: tf.Tensor; value: number }[] = [];
      const check = ({ values, value }: { values: tf.Tensor; value: number }): void => {
        const [low, high] = tf.tidy(() => [tf.min(values).dataSync()[0], tf.max(values).dataSync()[0]]);
        expect([low, high]).toEqual([value, value]);
        values.dispose();
      };
      const before = bridge().memory(-1).bytes;
      const random = draws({ seed: 5n, purpose: 240, step: 0, position: 0 });
      for (let i = 0; i < 600; i++) {
        // From 4 bytes to 8 MiB: small blocks, large ones, and their border.
        const values = tf.fill([1 + Math.floor(2 ** (21 * random.uniform()))], i);
        held.push({ values, value: i });
        if (i % 97 === 0) bridge().trim();
        if (held.length > 20) check(held.splice(random.below(held.length), 1)[0] as (typeof held)[0]);
      }
      held.forEach(check);
      expect(bridge().memory(-1).bytes).toBe(before);
    });

    it("frees what a failing operation made", () => {
      const x = tf.ones([2, 3]);
      const before = engine.memory().numTensors;
      expect(() => tf.matMul(x as tf.Tensor2D, x as tf.Tensor2D)).toThrow();
      const add = aten("add.Tensor");
      const full = aten("full");
      expect(() => scope(() => add(full([2], 1, 6), full([3], 1, 6)))).toThrow(
        "The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 0 (aten::add.Tensor of Float [2], Float [3])",
      );
      expect(engine.memory().numTensors).toBe(before);
      x.dispose();
    });

    it("refuses a tensor that was disposed, also when its slot is taken again", () => {
      const x = tf.tensor1d([1, 2]);
      const dataId = x.dataId as { handle: number };
      const { handle } = dataId;
      x.dispose();
      const other = tf.tensor1d([3, 4]);
      expect(() => bridge().read(handle, new Float32Array(2))).toThrow("used after it was disposed");
      expect(() => x.dataSync()).toThrow(/disposed/);
      other.dispose();
    });

    it("names an operator that does not exist", () => {
      expect(() => aten("no_such_operator")()).toThrow(/no_such_operator/);
    });

    it("stores bfloat16 and reads float32 back, rounded to eight bits", () => {
      const x = tf.tensor1d([1, 1 + 2 ** -9, 1 + 2 ** -7, -5.123, 1e30]);
      const before = engine.memory().bytes;
      const large = tf.ones([1024, 64]);
      const full = engine.memory().bytes - before;
      const half = ops().toPrecision(large, "bf16");
      expect(engine.memory().bytes - before - full).toBe(full / 2);
      const stored = ops().toPrecision(x, "bf16");
      expect(stored.dtype).toBe("float32");
      const back = ops().toPrecision(stored, "fp32");
      expect([...back.dataSync()]).toEqual([...stored.dataSync()]);
      expect([...stored.dataSync().slice(0, 4)]).toEqual([1, 1, 1 + 2 ** -7, -5.125]);
      // Arithmetic on it stays in bfloat16: 1 + 2^-9 rounds back to 1.
      expect([
        ...tf
          .add(stored, 2 ** -9)
          .dataSync()
          .slice(0, 1),
      ]).toEqual([1]);
      tf.dispose([x, large, half, stored, back]);
    });

    it("draws the very values of the TypeScript streams", () => {
      const key = { seed: 0xfedcba9876543210n, purpose: 9, step: 123456, inner: 77 };
      for (const size of [1, 3, 4, 127, 128, 129, 1000]) {
        for (const [kind, fill] of [
          ["uniform", fillUniform],
          ["normal", fillNormal],
        ] as const) {
          const drawn = ops().noise(kind, { ...key, positions: Int32Array.of(5, 2 ** 31 - 1) }, [size]);
          const got = drawn.dataSync();
          const expected = new Float32Array(size);
          fill(expected, { ...key, position: 2 ** 31 - 1 });
          const worst = expected.reduce((max, value, i) => Math.max(max, Math.abs(value - (got[size + i] as number))), 0);
          expect(worst).toBeLessThanOrEqual(kind === "uniform" ? 0 : 2 ** -22);
          drawn.dispose();
        }
      }
    });

    it("passes images on as channels_last views, without a copy", () => {
      const filter = ops().layoutFilter(tf.ones([3, 3, 4, 8]) as Tensor4D, "fp32");
      const x = tf.ones([2, 6, 6, 4]) as Tensor4D;
      const y = ops().conv2d(x, filter, null, { stride: 1, padding: 1 });
      const dx = ops().conv2dInputGrad(y, filter, x.shape, { stride: 1, padding: 1 });
      const z = ops().activation(y, { kind: "relu" });
      for (const t of [y, z, dx]) {
        const [, height = 0, width = 0, channels = 0] = t.shape;
        expect(stridesOf(t.dataId as never)).toEqual([height * width * channels, width * channels, channels, 1]);
      }
      tf.dispose([filter, x, y, z, dx]);
    });

    it("serves two worker threads at once, each with its own handles", async () => {
      const built = (await buildModule()).buildBridge();
      expect(built.ok).toBe(true);
      const program = `
        const { parentPort, workerData } = require("node:worker_threads");
        const bridge = require(workerData.path);
        const cells = new Float64Array(64);
        bridge.share(cells);
        bridge.setThreads(1);
        const add = bridge.operator("aten::add", "Tensor");
        cells.set([1, 256]);
        bridge.from(new Float32Array(256).fill(workerData.value), 6, -1);
        let sum = cells[0];
        const one = sum;
        for (let i = 0; i < 2000; i++) {
          cells.set([sum, one]);
          bridge.call(add, 2);
          const next = cells[0];
          if (sum !== one) bridge.release(sum);
          sum = next;
        }
        const out = new Float32Array(256);
        bridge.read(sum, out);
        parentPort.postMessage({ value: out[255], live: bridge.memory(-1).live });
      `;
      const run = (value: number): Promise<unknown> =>
        new Promise((resolve, reject) => {
          const worker = new Worker(program, { eval: true, workerData: { path: built.ok ? built.path : "", value } });
          let message: unknown;
          worker.on("message", (m) => {
            message = m;
          });
          worker.on("error", reject);
          worker.on("exit", (code) => (code === 0 ? resolve(message) : reject(new Error(`exit ${code}`))));
        });
      expect(await Promise.all([run(1), run(2)])).toEqual([
        { value: 2001, live: 2 },
        { value: 4002, live: 2 },
      ]);
      // The bridge is still whole in this thread.
      expect([...tf.tidy(() => tf.add(1, 1).dataSync())]).toEqual([2]);
    });
  });
}
