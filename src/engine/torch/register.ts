/** Declares the torch backend to TensorFlow.js: kernels, the extra operations, the backend itself. The bridge is opened by the caller. */
import * as tf from "@tensorflow/tfjs-core";
import { registerOps } from "../ops.js";
import { TorchBackend } from "./backend.js";
import { elementwise } from "./kernels/elementwise.js";
import { matrix } from "./kernels/matrix.js";
import { reduction } from "./kernels/reduction.js";
import { structure } from "./kernels/structure.js";
import { torchOps } from "./ops.js";

export const TORCH = "torch";

/** Every kernel that runs on ATen, by family. */
export const kernels: readonly tf.KernelConfig[] = [...elementwise, ...reduction, ...matrix, ...structure];

/** Once per thread; a second call changes nothing. */
export function registerTorch(): void {
  if (tf.findBackendFactory(TORCH)) return;
  for (const kernel of kernels) tf.registerKernel(kernel);
  registerOps(TORCH, torchOps);
  tf.registerBackend(TORCH, () => new TorchBackend());
}
