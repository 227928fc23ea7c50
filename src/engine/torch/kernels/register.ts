/** Every kernel of the torch backend, by family. */
import { registerKernel } from "@tensorflow/tfjs-core";
import { elementwise } from "./elementwise.js";
import { matrix } from "./matrix.js";
import { reduction } from "./reduction.js";
import { structure } from "./structure.js";

export function registerKernels(): void {
  for (const config of [...elementwise, ...reduction, ...matrix, ...structure]) registerKernel(config);
}
