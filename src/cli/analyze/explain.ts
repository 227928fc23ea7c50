/** `isoerg analyze MODEL --explain INDEX --out FILE`: one test sample's decision, its saliency as a picture and in words. */
import { writeFile } from "node:fs/promises";
import * as tf from "@tensorflow/tfjs-core";
import type { Dataset } from "../../data/dataset.js";
import { explain } from "../../evaluate/explain/saliency.js";
import { saliencyPng } from "../../evaluate/explain/saliency-png.js";
import { formatNumber, formatPercent } from "../../evaluate/format.js";
import type { OpenedClassifier } from "../../evaluate/open-classifier.js";
import { IsoergError } from "../../util/error.js";
import { textTable } from "../text-table.js";

export async function explainSample(opened: OpenedClassifier, data: Dataset, index: number, out: string): Promise<void> {
  if (!/\.png$/i.test(out)) throw new IsoergError("USAGE", `--out ${out} is no .png`);
  if (index >= data.numSamples) {
    throw new IsoergError("USAGE", `--explain ${index}: the test split has samples 0 to ${data.numSamples - 1}`);
  }
  const { classes } = data.manifest;
  const { images, labels } = await data.read([index]);
  const pixels = Float32Array.from(images, (value) => value / 255);
  const x = tf.tensor4d(pixels.slice(), [1, ...opened.inputShape]);
  const found = explain(opened.classifier, x, opened.numClasses);
  x.dispose();
  await writeFile(out, saliencyPng(pixels, opened.inputShape, found));
  const order = found.probabilities.map((p, k) => ({ p, k })).sort((a, b) => b.p - a.p);
  const truth = classes[labels[0] as number];
  const { logProbability, energyGradient } = found;
  process.stdout.write(
    [
      `test sample ${index}, labelled ${truth}: the model says ${classes[found.decision]} (${formatPercent(found.probabilities[found.decision] as number)}), energy ${formatNumber(found.energy)}\n\n`,
      textTable(order.slice(0, 5).map(({ p, k }) => [classes[k] ?? String(k), formatPercent(p)])),
      `\n${out}: the image; d log p(${classes[found.decision]}|x)/dx, scale ${formatNumber(logProbability.scale)}, norm ${formatNumber(logProbability.norm)};\n`,
      `dE(x)/dx, scale ${formatNumber(energyGradient.scale)}, norm ${formatNumber(energyGradient.norm)}. Red: brighter raises it; blue: brighter lowers it.\n`,
      `A change of 1/255 in every pixel could move log p by up to the sum of magnitudes, ${formatNumber(logProbability.values.reduce((sum, v) => sum + Math.abs(v), 0) / 255)}, to first order.\n`,
    ].join(""),
  );
}
