/**
 * TensorFlow.js models as others save them: a small Keras network by tfjs-layers, and the same function as a graph model whose
 * nodes are written out as the converter writes them. Both are of [H,W,C] = [6,5,3] images and 4 classes.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import * as layers from "@tensorflow/tfjs-layers";
import { fillNormal } from "../../src/engine/random/philox.js";

export const FOREIGN_SHAPE = [6, 5, 3] as const;
export const FOREIGN_CLASSES = 4;

function normals(shape: number[], position: number, scale: number): Float32Array {
  const values = new Float32Array(shape.reduce((product, length) => product * length, 1));
  fillNormal(values, { seed: 11n, purpose: 250, step: 0, position });
  return values.map((value) => value * scale);
}

/** Weights of conv 3x3 to 7, bias, dense to 4, bias. */
export const foreignWeights = [
  { name: "conv/kernel", shape: [3, 3, 3, 7], values: normals([3, 3, 3, 7], 1, 0.4) },
  { name: "conv/bias", shape: [7], values: normals([7], 2, 0.2) },
  { name: "dense/kernel", shape: [7, 4], values: normals([7, 4], 3, 1) },
  { name: "dense/bias", shape: [4], values: normals([4], 4, 0.5) },
] as const;

export type Ending = "logits" | "softmax" | "softmax-layer" | "sigmoid";

/** As `model.save("file://...")` of tfjs-node leaves it. */
export async function saveLayersModel(
  folder: string,
  options: { ending?: Ending; shape?: readonly number[]; classes?: number } = {},
): Promise<string> {
  const { ending = "logits", shape = FOREIGN_SHAPE, classes = FOREIGN_CLASSES } = options;
  const activation = ending === "softmax" || ending === "sigmoid" ? ending : "linear";
  const model = layers.sequential({
    layers: [
      layers.layers.conv2d({ inputShape: [...shape], filters: 7, kernelSize: 3, padding: "same", activation: "elu", name: "conv" }),
      layers.layers.globalAveragePooling2d({ name: "pool" }),
      layers.layers.dense({ units: classes, activation, name: "dense" }),
      ...(ending === "softmax-layer" ? [layers.layers.softmax({ name: "probabilities" })] : []),
    ],
  });
  const [kernel, bias, dense, last] = foreignWeights.map(({ shape, values }) => tf.tensor(values.slice(), [...shape])) as tf.Tensor[];
  // With fewer classes, those of the first ones.
  model.setWeights([
    kernel,
    bias,
    tf.slice(dense as tf.Tensor2D, [0, 0], [7, classes]),
    tf.slice(last as tf.Tensor1D, 0, classes),
  ] as tf.Tensor[]);
  mkdirSync(folder, { recursive: true });
  await model.save(
    tf.io.withSaveHandler(async (artifacts) => {
      const data = artifacts.weightData as ArrayBuffer;
      const half = Math.floor(data.byteLength / 2);
      writeFileSync(join(folder, "group1-shard1of2.bin"), new Uint8Array(data, 0, half));
      writeFileSync(join(folder, "group1-shard2of2.bin"), new Uint8Array(data, half));
      writeFileSync(
        join(folder, "model.json"),
        JSON.stringify({
          modelTopology: artifacts.modelTopology,
          format: artifacts.format,
          generatedBy: artifacts.generatedBy,
          weightsManifest: [{ paths: ["group1-shard1of2.bin", "group1-shard2of2.bin"], weights: artifacts.weightSpecs }],
        }),
      );
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: "JSON" } };
    }),
  );
  model.dispose();
  return join(folder, "model.json");
}

/** The same network as a SavedModel's graph, as tensorflowjs_converter writes one. */
export function saveGraphModel(folder: string, options: { ending?: "logits" | "softmax" | "argmax"; batch?: number } = {}): string {
  const { ending = "logits", batch = -1 } = options;
  const dim = (...sizes: number[]) => ({ shape: { dim: sizes.map((size) => ({ size: String(size) })) } });
  const float = { T: { type: "DT_FLOAT" } };
  const constant = ({ name, shape }: { name: string; shape: readonly number[] }) => ({
    name,
    op: "Const",
    attr: { value: { tensor: { dtype: "DT_FLOAT", tensorShape: dim(...shape).shape } }, dtype: { type: "DT_FLOAT" } },
  });
  const axes = { name: "pool/axes", shape: [2] };
  const last = { logits: "dense/BiasAdd", softmax: "probabilities", argmax: "winner" }[ending];
  const node = [
    { name: "image", op: "Placeholder", attr: { dtype: { type: "DT_FLOAT" }, ...dim(batch, ...FOREIGN_SHAPE) } },
    ...foreignWeights.map(constant),
    { ...constant(axes), attr: { ...constant(axes).attr, dtype: { type: "DT_INT32" } } },
    {
      name: "conv/Conv2D",
      op: "_FusedConv2D",
      input: ["image", "conv/kernel", "conv/bias"],
      attr: {
        ...float,
        num_args: { i: "1" },
        fused_ops: { list: { s: [Buffer.from("BiasAdd").toString("base64"), Buffer.from("Elu").toString("base64")] } },
        strides: { list: { i: ["1", "1", "1", "1"] } },
        dilations: { list: { i: ["1", "1", "1", "1"] } },
        padding: { s: Buffer.from("SAME").toString("base64") },
        data_format: { s: Buffer.from("NHWC").toString("base64") },
        epsilon: { f: 0 },
      },
    },
    {
      name: "pool",
      op: "Mean",
      input: ["conv/Conv2D", "pool/axes"],
      attr: { ...float, Tidx: { type: "DT_INT32" }, keep_dims: { b: false } },
    },
    {
      name: "dense/MatMul",
      op: "MatMul",
      input: ["pool", "dense/kernel"],
      attr: { ...float, transpose_a: { b: false }, transpose_b: { b: false } },
    },
    { name: "dense/BiasAdd", op: "BiasAdd", input: ["dense/MatMul", "dense/bias"], attr: float },
    ...(ending === "softmax" ? [{ name: "probabilities", op: "Softmax", input: ["dense/BiasAdd"], attr: float }] : []),
    ...(ending === "argmax"
      ? [
          { ...constant(axes), name: "winner/axis", attr: { ...constant(axes).attr, dtype: { type: "DT_INT32" } } },
          { name: "winner", op: "ArgMax", input: ["dense/BiasAdd", "winner/axis"], attr: float },
        ]
      : []),
    { name: "Identity", op: "Identity", input: [last], attr: float },
  ];
  const bytes = Buffer.concat([
    ...foreignWeights.map(({ values }) => Buffer.from(values.buffer, values.byteOffset, values.byteLength)),
    Buffer.from(Int32Array.of(1, 2, 1).buffer),
  ]);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "group1-shard1of1.bin"), bytes);
  const path = join(folder, "model.json");
  writeFileSync(
    path,
    JSON.stringify({
      format: "graph-model",
      generatedBy: "2.16.0",
      convertedBy: "TensorFlow.js Converter v4.22.0",
      signature: {
        inputs: { image: { name: "image:0", dtype: "DT_FLOAT", tensorShape: dim(batch, ...FOREIGN_SHAPE).shape } },
        outputs: { output: { name: "Identity:0", dtype: "DT_FLOAT", tensorShape: dim(batch, FOREIGN_CLASSES).shape } },
      },
      modelTopology: { node, library: {}, versions: { producer: 1882 } },
      weightsManifest: [
        {
          paths: ["group1-shard1of1.bin"],
          weights: [
            ...foreignWeights.map(({ name, shape }) => ({ name, shape: [...shape], dtype: "float32" })),
            { name: "pool/axes", shape: [2], dtype: "int32" },
            { name: "winner/axis", shape: [], dtype: "int32" },
          ],
        },
      ],
    }),
  );
  return path;
}

/** Logits of one image [6,5,3] in float64, by the definition: convolution with zero padding, ELU, mean, product. */
export function foreignLogits(image: ArrayLike<number>): number[] {
  const [height, width, channels] = FOREIGN_SHAPE;
  const [kernel, bias, dense, denseBias] = foreignWeights.map(({ values }) => values) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const means = new Array<number>(7).fill(0);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let f = 0; f < 7; f++) {
        let sum = bias[f] as number;
        for (let dy = -1; dy <= 1; dy++) {
          for (let dx = -1; dx <= 1; dx++) {
            if (y + dy < 0 || y + dy >= height || x + dx < 0 || x + dx >= width) continue;
            for (let c = 0; c < channels; c++) {
              const pixel = image[((y + dy) * width + x + dx) * channels + c] as number;
              sum += pixel * (kernel[(((dy + 1) * 3 + dx + 1) * channels + c) * 7 + f] as number);
            }
          }
        }
        means[f] = (means[f] as number) + (sum > 0 ? sum : Math.expm1(sum)) / (height * width);
      }
    }
  }
  return Array.from({ length: FOREIGN_CLASSES }, (_, k) =>
    means.reduce((sum, mean, f) => sum + mean * (dense[f * FOREIGN_CLASSES + k] as number), denseBias[k] as number),
  );
}
