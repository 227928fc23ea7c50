/** Declares the torch backend to TensorFlow.js: kernels, the extra operations, the backend itself. The bridge is opened by the caller. */
import * as tf from "@tensorflow/tfjs-core";
import { registerOps } from "../ops.js";
import { TorchBackend } from "./backend.js";
import { complexes } from "./kernels/complex.js";
import { convolutions } from "./kernels/convolution.js";
import { elementwise } from "./kernels/elementwise.js";
import { fallbacks } from "./kernels/fallback.js";
import { gathers } from "./kernels/gather.js";
import { matrix } from "./kernels/matrix.js";
import { normalise } from "./kernels/normalise.js";
import { poolings } from "./kernels/pooling.js";
import { reduction } from "./kernels/reduction.js";
import { structure } from "./kernels/structure.js";
import { torchOps } from "./ops.js";

export const TORCH = "torch";

/** Every kernel that runs on ATen, by family. */
export const kernels: readonly tf.KernelConfig[] = [
  ...elementwise,
  ...reduction,
  ...matrix,
  ...structure,
  ...convolutions,
  ...poolings,
  ...gathers,
  ...normalise,
  ...complexes,
];

/** Once per thread; a second call changes nothing. */
export function registerTorch(): void {
  if (tf.findBackendFactory(TORCH)) return;
  for (const kernel of [...kernels, ...fallbacks]) tf.registerKernel(kernel);
  registerOps(TORCH, torchOps);
  tf.registerBackend(TORCH, () => new TorchBackend());
}
