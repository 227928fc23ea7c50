/** One door for every kind of classifier: the same weights give the same logits as a run, as a checkpoint and as an export. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exportCommand } from "../../src/cli/export.js";
import { type Dataset, openDataset } from "../../src/data/dataset.js";
import { startEngine } from "../../src/engine/choose.js";
import { type OpenedClassifier, openClassifier, recogniseClassifier } from "../../src/evaluate/open-classifier.js";
import { failureOf } from "../data/toy.js";
import { saveLayersModel } from "../kit/foreign-models.js";
import { type TrainedRun, trainSmallRun } from "../kit/trained-run.js";

describe("a classifier", () => {
  const folder = mkdtempSync(join(tmpdir(), "isoerg-open-"));
  let made: TrainedRun;
  let data: Dataset;
  beforeAll(async () => {
    await startEngine({ engine: "cpu", device: "cpu", threads: 1 });
    made = await trainSmallRun(folder, { numTrain: 20, numTest: 10, overrides: { epochs: 1 } });
    data = await openDataset(made.dataFolder, "test");
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const open = async (path: string): Promise<OpenedClassifier> => openClassifier(await recogniseClassifier(path), { data });
  const logits = async ({ classifier }: OpenedClassifier): Promise<number[]> => {
    const { images } = await data.read([0, 1, 2]);
    const x = tf.tensor4d(
      Float32Array.from(images, (v) => v / 255),
      [3, 8, 8, 3],
    );
    return tf.tidy(() => [...classifier.logits(x).dataSync()]);
  };

  it("is the same as a run, a checkpoint and an export", async () => {
    const exported = join(folder, "small.safetensors");
    await exportCommand().parseAsync([made.runFolder, "--out", exported], { from: "user" });
    const run = await open(made.runFolder);
    const checkpoint = await open(run.run?.checkpoint.path ?? "");
    const file = await open(exported);
    expect(run).toMatchObject({ kind: "run", name: "small", weights: "averaged", inputShape: [8, 8, 3], numClasses: 3 });
    expect(await logits(checkpoint)).toEqual(await logits(run));
    expect(file).toMatchObject({ kind: "safetensors", name: "small", weights: "exported", run: null });
    expect(await logits(file)).toEqual(await logits(run));
    expect(file.fingerprint).toBe(run.fingerprint);
    for (const each of [run, checkpoint, file]) each.dispose();
  });

  it("of this program's has the features that its head makes logits of", async () => {
    const run = await open(made.runFolder);
    const { images } = await data.read([0, 1]);
    const x = tf.tensor4d(
      Float32Array.from(images, (v) => v / 255),
      [2, 8, 8, 3],
    );
    const before = tf.memory().numTensors;
    const features = run.classifier.features?.(x) as tf.Tensor2D;
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(features.shape).toEqual([2, 8]);
    const tensors = run.run?.checkpoint.files.model;
    const [weight, bias] = ["ema.head.weight", "ema.head.bias"].map((name) => tensors?.get(name)) as { data: Float32Array }[];
    const rebuilt = tf.tidy(() => [
      ...tf.add(tf.matMul(features, tf.tensor2d(weight?.data as Float32Array, [8, 3])), tf.tensor1d(bias?.data as Float32Array)).dataSync(),
    ]);
    const direct = tf.tidy(() => [...run.classifier.logits(x).dataSync()]);
    rebuilt.forEach((value, i) => {
      expect(value).toBeCloseTo(direct[i] as number, 5);
    });
    tf.dispose([features, x]);
    run.dispose();
  });

  it("of TensorFlow.js is opened by its folder or its model.json", async () => {
    const path = await saveLayersModel(join(folder, "keras"), { shape: [8, 8, 3] });
    const found = await failureOf(() => open(path));
    expect(found).toMatchObject({ code: "USAGE", message: "the model has 4 outputs, the data set has 3 classes" });
    expect(await recogniseClassifier(join(folder, "keras"))).toEqual({ kind: "tfjs", file: path });
  });

  it("that is none is said to be none", async () => {
    expect(await failureOf(() => recogniseClassifier(join(folder, "nowhere")))).toMatchObject({ code: "USAGE" });
    expect(await failureOf(() => recogniseClassifier(made.dataFolder))).toMatchObject({
      code: "USAGE",
      message: expect.stringContaining("neither a run"),
    });
    const file = join(folder, "other.safetensors");
    writeFileSync(file, Buffer.concat([Buffer.from(BigUint64Array.of(2n).buffer), Buffer.from("{}")]));
    expect(await failureOf(() => open(file))).toMatchObject({
      code: "CHECKPOINT",
      message: expect.stringContaining("does not say which network"),
    });
  });

  it("of this program's takes no input options", async () => {
    const found = await recogniseClassifier(made.runFolder);
    expect(await failureOf(() => openClassifier(found, { data, input: { range: [0, 255] } }))).toMatchObject({ code: "USAGE" });
  });
});
