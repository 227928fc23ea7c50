/** Classifiers from TensorFlow.js files against the definition of the network, on every engine; and what is refused, with its reason. */
import { readFileSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fillUniform } from "../../../src/engine/random/philox.js";
import type { InputOptions } from "../../../src/evaluate/foreign/input.js";
import { type LoadedForeign, loadForeign } from "../../../src/evaluate/foreign/load.js";
import { checkLogits } from "../../../src/evaluate/foreign/logits.js";
import { findModelFile, readModelFile } from "../../../src/evaluate/foreign/model-file.js";
import { energyHead } from "../../../src/model/heads.js";
import { failureOf, temporaryFolder } from "../../data/toy.js";
import { testedEngines, titleOn } from "../../kit/engines.js";
import { FOREIGN_CLASSES, FOREIGN_SHAPE, foreignLogits, saveGraphModel, saveLayersModel } from "../../kit/foreign-models.js";

const engines = await testedEngines();
const NUM = 3;
const SIZE = 6 * 5 * 3;
const pixels = new Float32Array(NUM * SIZE);
fillUniform(pixels, { seed: 1n, purpose: 250, step: 0, position: 0 });
const expected = Array.from({ length: NUM }, (_, i) => foreignLogits(pixels.subarray(i * SIZE, (i + 1) * SIZE))).flat();

const images = (values: Float32Array = pixels): Tensor4D => tf.tensor4d(values.slice(), [values.length / SIZE, ...FOREIGN_SHAPE]);

async function load(path: string, input?: InputOptions): Promise<LoadedForeign> {
  const probe = images();
  try {
    return await loadForeign(await readModelFile(path), {
      inputShape: FOREIGN_SHAPE,
      numClasses: FOREIGN_CLASSES,
      probe,
      ...(input && { input }),
    });
  } finally {
    probe.dispose();
  }
}

function logitsOf({ classifier }: LoadedForeign, values?: Float32Array): Float32Array {
  return tf.tidy(() => classifier.logits(images(values)).dataSync<"float32">() as Float32Array);
}

const close = (found: ArrayLike<number>, wanted: ArrayLike<number>, digits = 4) => {
  expect(found.length).toBe(wanted.length);
  Array.from(found).forEach((value, i) => {
    expect(value, `value ${i}`).toBeCloseTo(wanted[i] as number, digits);
  });
};

/** dE/dx of one image by central differences in float64. */
function energyGradient(image: Float32Array): number[] {
  const energy = (values: Float64Array) => -Math.log(foreignLogits(values).reduce((sum, f) => sum + Math.exp(f), 0));
  return Array.from(image, (_, i) => {
    const [up, down] = [1e-5, -1e-5].map((h) => energy(Float64Array.from(image, (v, j) => (j === i ? v + h : v)))) as [number, number];
    return (up - down) / 2e-5;
  });
}

describe.each(engines)("$name", (engine) => {
  const kinds = {
    "a layers model": (folder: string) => saveLayersModel(folder),
    "a layers model that ends in a dense softmax": (folder: string) => saveLayersModel(folder, { ending: "softmax" }),
    "a layers model that ends in a softmax layer": (folder: string) => saveLayersModel(folder, { ending: "softmax-layer" }),
    "a graph model": async (folder: string) => saveGraphModel(folder),
    "a graph model that ends in a softmax": async (folder: string) => saveGraphModel(folder, { ending: "softmax" }),
    "a graph model of batch 1": async (folder: string) => saveGraphModel(folder, { batch: 1 }),
  };
  it.skipIf(engine.missing).each(Object.entries(kinds))(
    titleOn(engine, "has the definition's logits, features and input gradients from %s"),
    async (kind, save) => {
      await engine.use();
      const loaded = await load(await save(await temporaryFolder()));
      expect(loaded.logits).toBe(kind.includes("softmax") ? "before-softmax" : "output");
      close(logitsOf(loaded), expected);
      const before = tf.memory().numTensors;
      const x = images();
      const { logits, gradient } = loaded.classifier.inputGradient(x, energyHead());
      close(logits.dataSync(), expected);
      close(gradient.dataSync(), Array.from({ length: NUM }, (_, i) => energyGradient(pixels.slice(i * SIZE, (i + 1) * SIZE))).flat());
      const features = loaded.classifier.features?.(x);
      expect(features?.shape).toEqual([NUM, 7]);
      tf.dispose([x, logits, gradient, ...(features ? [features] : [])]);
      expect(tf.memory().numTensors).toBe(before);
      loaded.classifier.dispose();
    },
  );
});

describe("a foreign model's input", () => {
  let layersPath: string;
  let loaded: LoadedForeign;
  beforeAll(async () => {
    await (engines[0] as (typeof engines)[number]).use();
    layersPath = await saveLayersModel(join((await import("node:os")).tmpdir(), `isoerg-foreign-${process.pid}`));
  });
  afterAll(async () => (await import("node:fs/promises")).rm(dirname(layersPath), { recursive: true, force: true }));

  it("is scaled to a range", async () => {
    loaded = await load(layersPath, { range: [-1, 1] });
    close(logitsOf(loaded, pixels.slice(0, SIZE)), foreignLogits(pixels.slice(0, SIZE).map((v) => 2 * v - 1)));
  });

  it("is normalised by channel, and turned to BGR afterwards", async () => {
    loaded = await load(layersPath, { mean: [0.1, 0.2, 0.3], std: [0.5, 0.25, 2], channels: "bgr" });
    const one = pixels.slice(0, SIZE);
    const normal = one.map((v, i) => (v - ([0.1, 0.2, 0.3][i % 3] as number)) / ([0.5, 0.25, 2][i % 3] as number));
    close(logitsOf(loaded, one), foreignLogits(normal.map((_, i) => normal[i - (i % 3) + 2 - (i % 3)] as number)));
  });

  it("of another size is an error that names the option, and is resized with it", async () => {
    const path = await saveLayersModel(await temporaryFolder(), { shape: [12, 10, 3] });
    expect(await failureOf(() => load(path))).toMatchObject({
      code: "USAGE",
      message: expect.stringMatching(/takes \[\?,12,10,3\].*6x5x3/),
      hint: expect.stringContaining("--resize"),
    });
    const resized = await load(path, { resize: true });
    const constant = new Float32Array(SIZE).fill(0.3);
    expect(logitsOf(resized, constant)).toHaveLength(FOREIGN_CLASSES);
    // Half-pixel centres: what TensorFlow.js's own resizing gives, whose gradient can't be used.
    const wide = tf.tidy(() => tf.image.resizeBilinear(images(), [12, 10], false, true).arraySync());
    const alone = await loadForeign(await readModelFile(path), {
      inputShape: [12, 10, 3],
      numClasses: FOREIGN_CLASSES,
      probe: tf.tensor4d(wide),
    });
    close(
      logitsOf(resized),
      tf.tidy(() => alone.classifier.logits(tf.tensor4d(wide)).dataSync()),
    );
    const x = images();
    const { logits, gradient } = resized.classifier.inputGradient(x, energyHead());
    const energy = (values: Float32Array) => -Math.log(logitsOf(resized, values).reduce((sum, f) => sum + Math.exp(f), 0));
    const one = pixels.slice(0, SIZE);
    for (const at of [0, 17, 44, 89]) {
      const [up, down] = [0.02, -0.02].map((h) => energy(one.map((v, i) => (i === at ? v + h : v)))) as [number, number];
      expect(gradient.dataSync()[at]).toBeCloseTo((up - down) / 0.04, 3);
    }
    tf.dispose([x, logits, gradient]);
  });

  it("in contradictory scales is refused", async () => {
    expect(await failureOf(() => load(layersPath, { range: [0, 255], mean: [0.5] }))).toMatchObject({ code: "USAGE" });
    expect(await failureOf(() => load(layersPath, { std: [1, 2] }))).toMatchObject({
      message: expect.stringContaining("2 numbers for 3 channels"),
    });
  });
});

describe("a foreign model is refused", () => {
  it("when it ends in a sigmoid", async () => {
    const path = await saveLayersModel(await temporaryFolder(), { ending: "sigmoid" });
    expect(await failureOf(() => load(path))).toMatchObject({ code: "USAGE", message: expect.stringContaining("sigmoid") });
  });

  it("when its outputs are probabilities or log-probabilities", () => {
    expect(() => checkLogits([0.2, 0.8, 0.5, 0.5], 2)).toThrow(/probabilities, which have no energy: each row adds up to 1/);
    expect(() => checkLogits([Math.log(0.2), Math.log(0.8)], 2)).toThrow(/log-probabilities/);
    expect(() => checkLogits([0.2, 0.8, 0.5, 0.6], 2)).not.toThrow();
    expect(() => checkLogits([0.2, Number.NaN], 2)).toThrow(/sample 0 is NaN/);
  });

  it("when its classes are not the data's", async () => {
    const path = saveGraphModel(await temporaryFolder(), { ending: "argmax" });
    expect(await failureOf(() => load(path))).toMatchObject({ code: "USAGE", message: expect.stringMatching(/1 outputs.*4 classes/) });
  });

  it("when a shard is missing or cut off, by its name", async () => {
    const path = await saveLayersModel(await temporaryFolder());
    const shard = join(dirname(path), "group1-shard2of2.bin");
    truncateSync(shard, 8);
    expect(await failureOf(() => readModelFile(path))).toMatchObject({
      code: "CHECKPOINT",
      message: expect.stringMatching(/shards .* hold \d+ bytes, \d+ are due/),
    });
    unlinkSync(shard);
    expect(await failureOf(() => readModelFile(path))).toMatchObject({
      code: "CHECKPOINT",
      message: expect.stringContaining("group1-shard2of2.bin"),
    });
  });

  it("when its file is no model, or leads outside its folder", async () => {
    const path = await saveLayersModel(await temporaryFolder());
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.replace("group1-shard1of2.bin", "../secret.bin"));
    expect(await failureOf(() => readModelFile(path))).toMatchObject({ message: expect.stringContaining("outside its folder") });
    writeFileSync(path, "{}");
    expect(await failureOf(() => readModelFile(path))).toMatchObject({
      code: "CHECKPOINT",
      message: expect.stringContaining("modelTopology"),
    });
    writeFileSync(path, text.slice(0, 50));
    expect(await failureOf(() => readModelFile(path))).toMatchObject({ message: expect.stringContaining("is not JSON") });
  });

  it("only after its file was found", async () => {
    const folder = await temporaryFolder();
    expect(await findModelFile(folder)).toBeUndefined();
    const path = await saveLayersModel(folder);
    expect(await findModelFile(folder)).toBe(path);
    expect(await findModelFile(path)).toBe(path);
  });
});
