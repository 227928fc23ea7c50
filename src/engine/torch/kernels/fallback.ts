/**
 * Kernels that run in TensorFlow.js's cpu backend: none is used in training, all are rare, and some (strings, ragged and
 * sparse bookkeeping) have no ATen operator at all. Values are copied there and back.
 *
 * Kernels of ATen's come here too when one of their inputs is a string tensor.
 */
import "@tensorflow/tfjs-backend-cpu";
import type { KernelBackend, KernelConfig, NamedAttrMap, TensorInfo } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { IsoergError } from "../../../util/error.js";
import type { TorchBackend } from "../backend.js";
import { COMPLEX } from "../scalar-type.js";
import type { Value } from "../value.js";

/** By name, so that the list in the README can be checked against it. */
export const fallbackKernels: readonly string[] = [
  "AddN",
  "BatchToSpaceND",
  "Bincount",
  "BroadcastArgs",
  "CropAndResize",
  "DenseBincount",
  "DepthToSpace",
  "Diag",
  "Dilation2D",
  "Dilation2DBackpropFilter",
  "Dilation2DBackpropInput",
  "GatherNd",
  "LRN",
  "LRNGrad",
  "MaxPoolWithArgmax",
  "Multinomial",
  "NonMaxSuppressionV3",
  "NonMaxSuppressionV4",
  "NonMaxSuppressionV5",
  "RaggedGather",
  "RaggedRange",
  "RaggedTensorToTensor",
  "ResizeBilinear",
  "ResizeBilinearGrad",
  "ResizeNearestNeighbor",
  "ResizeNearestNeighborGrad",
  "RotateWithOffset",
  "ScatterNd",
  "SearchSorted",
  "SpaceToBatchND",
  "SparseFillEmptyRows",
  "SparseReshape",
  "SparseSegmentMean",
  "SparseSegmentSum",
  "SparseToDense",
  "StaticRegexReplace",
  "StringNGrams",
  "StringSplit",
  "StringToHashBucketFast",
  "TensorScatterUpdate",
  "Transform",
  "Unique",
];

export const fallbacks: readonly KernelConfig[] = fallbackKernels.map((kernelName) => ({
  kernelName,
  backendName: "torch",
  kernelFunc: ({ inputs, attrs, backend }) => onCpu(kernelName, inputs, attrs, backend as TorchBackend),
}));

type Inputs = Record<string, TensorInfo | TensorInfo[] | undefined>;

/** Runs a kernel of the cpu backend on values of ours; results come back to ours. */
export function onCpu(kernelName: string, inputs: unknown, attrs: unknown, torch: TorchBackend): TensorInfo | TensorInfo[] {
  const cpu = tf.engine().findBackend("cpu");
  const kernel = tf.getKernel(kernelName, "cpu");
  if (!cpu || !kernel) throw new IsoergError("ENGINE", `torch: kernel ${kernelName} is neither ATen's nor of the cpu backend`);
  const copies: TensorInfo[] = [];
  const copy = (input: TensorInfo): TensorInfo => {
    const there = toCpu(torch.value(input.dataId), torch, cpu);
    copies.push(there);
    return there;
  };
  const moved = Array.isArray(inputs)
    ? (inputs as TensorInfo[]).map(copy)
    : Object.fromEntries(
        Object.entries(inputs as Inputs).map(([name, input]) => [name, Array.isArray(input) ? input.map(copy) : input && copy(input)]),
      );
  try {
    const results = kernel.kernelFunc({ inputs: moved as never, attrs: attrs as NamedAttrMap, backend: cpu });
    const back = (info: TensorInfo): TensorInfo => {
      const dataId = torch.write(cpu.readSync(info.dataId), info.shape, info.dtype);
      if (!copies.some((one) => one.dataId === info.dataId)) cpu.disposeData(info.dataId);
      return torch.value(dataId);
    };
    return Array.isArray(results) ? results.map(back) : back(results);
  } finally {
    for (const { dataId } of copies) cpu.disposeData(dataId, true);
  }
}

function toCpu(value: Value, torch: TorchBackend, cpu: KernelBackend): TensorInfo {
  if (value.type === COMPLEX) throw new IsoergError("ENGINE", "torch: this kernel does not take complex numbers");
  const dataId = cpu.write(torch.readSync(value), value.shape, value.dtype);
  // Some of its kernels ask for a tensor's rank, which a TensorInfo does not promise.
  return Object.assign({ dataId, shape: value.shape, dtype: value.dtype }, { rank: value.shape.length });
}
