/**
 * Every TensorFlow.js kernel that training uses, on random odd shapes, against the `cpu` backend. (The whole backend is held
 * to tfjs-core's own suite by `npm run test:conformance`.) Skipped, with the reason, where there is no libtorch.
 */

import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { startCpu } from "../../src/engine/cpu.js";
import * as fc from "../kit/property.js";
import { startTestTorch, torchMissing } from "./torch-kit.js";
import { expectClose, values } from "./values.js";

const missing = await torchMissing();

/** One or two tensors of a drawn shape; `y` broadcasts against `x`. */
interface Drawn {
  readonly x: Tensor;
  readonly y: Tensor;
  readonly axis: number;
}

type Case = readonly [name: string, run: (drawn: Drawn) => Tensor | Tensor[]];

const positive = (x: Tensor): Tensor => tf.add(tf.abs(x), 0.1);

const cases: readonly Case[] = [
  ["add", ({ x, y }) => tf.add(x, y)],
  ["sub", ({ x, y }) => tf.sub(x, y)],
  ["mul", ({ x, y }) => tf.mul(x, y)],
  ["div", ({ x, y }) => tf.div(x, positive(y))],
  ["maximum", ({ x, y }) => tf.maximum(x, y)],
  ["minimum", ({ x, y }) => tf.minimum(x, y)],
  ["squaredDifference", ({ x, y }) => tf.squaredDifference(x, y)],
  ["greater, less, equal", ({ x, y }) => [tf.greater(x, y), tf.lessEqual(x, y), tf.equal(x, x), tf.notEqual(x, y)]],
  ["where", ({ x, y }) => tf.where(tf.greater(x, 0), x, tf.mul(y, tf.onesLike(x)))],
  ["sqrt, square, abs", ({ x }) => [tf.sqrt(positive(x)), tf.square(x), tf.abs(x)]],
  ["neg, sign, exp, log", ({ x }) => [tf.neg(x), tf.sign(x), tf.exp(x), tf.log(positive(x))]],
  ["sigmoid, tanh, relu, erf", ({ x }) => [tf.sigmoid(x), tf.tanh(x), tf.relu(x), tf.erf(x)]],
  ["clipByValue", ({ x }) => tf.clipByValue(x, -0.25, 0.5)],
  ["sum", ({ x, axis }) => [tf.sum(x), tf.sum(x, axis), tf.sum(x, axis, true)]],
  ["mean", ({ x, axis }) => [tf.mean(x), tf.mean(x, axis)]],
  ["max, min", ({ x, axis }) => [tf.max(x, axis), tf.min(x, axis, true)]],
  ["argMax, argMin", ({ x, axis }) => [tf.argMax(x, axis), tf.argMin(x, axis)]],
  ["softmax", ({ x }) => tf.softmax(x)],
  ["logSoftmax", ({ x }) => tf.logSoftmax(x)],
  ["transpose", ({ x }) => tf.transpose(x)],
  ["reshape", ({ x }) => tf.reshape(tf.transpose(x), [-1])],
  [
    "slice",
    ({ x }) =>
      tf.slice(
        x,
        x.shape.map((n) => (n > 1 ? 1 : 0)),
      ),
  ],
  ["concat, stack", ({ x, axis }) => [tf.concat([x, x], axis), tf.stack([x, x], axis)]],
  [
    "tile, pad",
    ({ x }) => [
      tf.tile(
        x,
        x.shape.map((_, i) => 1 + (i % 2)),
      ),
      tf.pad(
        x,
        x.shape.map((_, i) => [i, 1]),
      ),
    ],
  ],
  ["cast", ({ x }) => [tf.cast(tf.mul(x, 3), "int32"), tf.cast(x, "bool"), tf.cast(tf.greater(x, 0), "float32")]],
  ["gather", ({ x, axis }) => tf.gather(x, tf.tensor1d([0, (x.shape[axis] as number) - 1, 0], "int32"), axis)],
  ["oneHot", ({ x }) => tf.oneHot(tf.tensor1d([0, 3, 1], "int32"), 4 + x.shape.length)],
  ["zerosLike, onesLike, fill", ({ x }) => [tf.zerosLike(x), tf.onesLike(x), tf.fill(x.shape, 1.5)]],
];

const SUMS: ReadonlySet<string> = new Set(["sum", "mean"]);

const shapes = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 4 });

if (missing) describe.skip("kernels of the torch engine", () => it.skip(`skipped: ${missing}`, () => {}));
else {
  describe("kernels of the torch engine", () => {
    beforeAll(async () => {
      await startCpu();
      await startTestTorch();
    });
    const on = (backend: string, run: () => Tensor | Tensor[]): { shape: number[]; dtype: string; data: number[] }[] => {
      tf.setBackend(backend);
      return tf.tidy(() => [run()].flat().map((t) => ({ shape: t.shape, dtype: t.dtype, data: [...t.dataSync()] })));
    };

    /** The same computation on both backends: shapes and types alike, values close, for sums as sums of magnitudes are large. */
    const compare = (run: () => Tensor | Tensor[], runOnMagnitudes: () => Tensor | Tensor[] = run): void => {
      const got = on("torch", run);
      const expected = on("cpu", run);
      const magnitudes = runOnMagnitudes === run ? expected : on("cpu", runOnMagnitudes);
      expect(got.map(({ shape, dtype }) => [shape, dtype])).toEqual(expected.map(({ shape, dtype }) => [shape, dtype]));
      for (const [i, { data }] of got.entries()) expectClose(data, expected[i]?.data ?? [], 2e-6, magnitudes[i]?.data);
    };

    it.each(cases)("%s agrees with cpu", (name, run) => {
      fc.assert(
        fc.property(shapes, fc.nat(1000), fc.nat(3), fc.nat(15), (shape, seed, which, keep) => {
          const axis = which % shape.length;
          const other = shape.map((n, i) => ((keep >> i) & 1 ? n : 1)).slice(keep % shape.length);
          const x = () => tf.tensor([...values(tf.util.sizeFromShape(shape), seed)], shape);
          const y = () => tf.tensor([...values(tf.util.sizeFromShape(other), seed + 1)], other);
          const compute = () => run({ x: x(), y: y(), axis });
          compare(compute, SUMS.has(name) ? () => run({ x: tf.abs(x()), y: y(), axis }) : compute);
        }),
        { numRuns: 15, examples: [[[7, 5, 5, 2], 326, 0, 0]] }, // 350 addends whose sum is nearly 0
      );
    });

    it("multiplies matrices, transposed and in batches", () => {
      const size = fc.integer({ min: 1, max: 9 });
      const sizes = fc.tuple(size, size, size, size);
      fc.assert(
        fc.property(sizes, fc.boolean(), fc.boolean(), fc.nat(1000), ([batch, m, k, n], transposeA, transposeB, seed) => {
          compare(() => {
            const a = tf.tensor([...values(batch * m * k, seed)], transposeA ? [batch, k, m] : [batch, m, k]);
            const b = tf.tensor([...values(batch * k * n, seed + 1)], transposeB ? [batch, n, k] : [batch, k, n]);
            return tf.matMul(a, b, transposeA, transposeB);
          });
        }),
        { numRuns: 25 },
      );
    });

    it("computes with nothing at all: sizes of zero", () => {
      compare(() => {
        const none = tf.zeros([0, 3]);
        return [
          tf.add(none, 1),
          tf.sum(none, 0),
          tf.concat([none, tf.ones([2, 3])]),
          tf.matMul(tf.zeros([2, 0]), none),
          tf.reshape(none, [3, 0]),
          tf.clipByValue(none, 0, 1),
        ];
      });
    });

    it("keeps a view's storage alive when what it was cut from is disposed", () => {
      tf.setBackend("torch");
      const x = tf.range(0, 12);
      const view = tf.slice(x, 4, 4);
      x.dispose();
      expect([...view.dataSync()]).toEqual([4, 5, 6, 7]);
      view.dispose();
    });

    it("moves tensors over from another backend and back", () => {
      tf.setBackend("cpu");
      const x = tf.tensor1d([1, 2, 3]);
      tf.setBackend("torch");
      const y = tf.mul(x, 2);
      tf.setBackend("cpu");
      expect([...tf.add(y, x).dataSync()]).toEqual([3, 6, 9]);
      tf.setBackend("torch");
      tf.dispose([x, y]);
    });
  });
}
