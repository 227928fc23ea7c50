/**
 * What libtorch throws, as errors that say what to do: out of memory with the tensors' shapes, what the device still has, and the
 * settings that help; a GPU that is not there; a driver that fails. Everything else passes unchanged: it is a fault of ours.
 */
import { freemem } from "node:os";
import { IsoergError } from "../../util/error.js";

const SMALLER =
  "set memory.microBatch to a part of the batch (the result stays the same), take a smaller data.batchSize or fewer sampler.chains, more workers, or precision.inner=bf16";

/** Failures of a device, by what CUDA and PyTorch say. */
const deviceFailures: readonly (readonly [RegExp, message: string, hint: string])[] = [
  [
    /found no nvidia driver|no nvidia driver|cuda driver initialization failed|driver version is insufficient/i,
    "NVIDIA's driver is not there, or too old for this libtorch",
    "check `nvidia-smi`; take a libtorch for that driver's CUDA (set LIBTORCH), or --device cpu",
  ],
  [
    /invalid device ordinal|no cuda-capable device|no cuda gpus are available/i,
    "there is no such GPU",
    "`nvidia-smi -L` lists them, and CUDA_VISIBLE_DEVICES hides them; name one that is there, or take --device cpu",
  ],
  [
    /no kernel image is available/i,
    "this libtorch was not built for this GPU's architecture",
    "set LIBTORCH to one that was, or take --device cpu",
  ],
  [
    /(could not run|backend).*'?cuda'?|not compiled with cuda|not linked with support for cuda/i,
    "this libtorch was built without CUDA",
    "set LIBTORCH to a libtorch built for CUDA, or take --device cpu",
  ],
  [
    /cuda error|cublas_status|cudnn_status|cudnn error/i,
    "the GPU failed",
    "look at `nvidia-smi` and `dmesg` for Xid errors; the worker must be started anew: its context on the GPU is lost",
  ],
];

/** The error to throw in place of one that the bridge threw. */
export function explained(error: unknown, freeBytes: () => number = freemem): unknown {
  if (error instanceof IsoergError) return error;
  const text = error instanceof Error ? error.message : String(error);
  if (/out of memory|can't allocate memory|not enough memory/i.test(text)) {
    // A GPU's message has its own account; the pool's has ours, and what the machine has left is added.
    const left = /gpu|cuda/i.test(text) ? "" : `; the machine has ${gibibytes(freeBytes())} left`;
    return new IsoergError("ENGINE", `torch: ${text}${left}`, { hint: SMALLER, cause: error });
  }
  for (const [pattern, message, hint] of deviceFailures) {
    if (pattern.test(text)) return new IsoergError("ENGINE", `torch: ${message}: ${text}`, { hint, cause: error });
  }
  return error;
}

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
