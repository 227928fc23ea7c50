/**
 * What the compiled bridge exports (native/bridge.cc), and loading it. Handles are numbers; 0 is "no tensor". Arguments and
 * results of an operator pass through one Float64Array that both sides share. Nothing here checks shapes: ATen does.
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { IsoergError } from "../../util/error.js";

export type HostArray = Float32Array | Float64Array | Int32Array | Uint8Array;

export interface Native {
  share(cells: Float64Array): void;
  /** -> the operator's number; the kinds of its arguments are left in the cells: count, kinds. */
  operator(name: string, overload: string): number;
  string(text: string): number;
  /** -> the number of result tensors, which are left in the cells. */
  call(operator: number, numArguments: number): number;
  /** For operators that write in place. */
  run(operator: number, numArguments: number): void;
  release(handle: number): void;
  /** Shape in the cells: rank, sizes. Device -1 is the CPU. */
  from(values: HostArray, scalarType: number, device: number): number;
  read(handle: number, target: HostArray): void;
  write(handle: number, values: HostArray): void;
  noise(kind: number, key0: number, key1: number, step: number, purposeAndInner: number, positions: Int32Array, device: number): number;
  /** kind 0 silu, 1 softplus; with dy (not 0) its product with the derivative. -> 0 where ATen's operators must do it. */
  activation(kind: number, x: number, dy: number, parameter: number): number;
  /** dy [B,OH,OW,O], weight [O,C,kh,kw] -> dx [B,H,W,C] for few channels; 0 where ATen must do it. */
  narrowInputGradient(dy: number, weight: number, height: number, width: number, stride: number, padding: number): number;
  /** -> 3: y, mean and rstd; 0 where ATen must do it. */
  groupNorm(x: number, gamma: number, beta: number, groups: number, epsilon: number): number;
  /** -> 3: dx, dgamma and dbeta; 0 where ATen must do it. */
  groupNormGrad(dy: number, x: number, mean: number, rstd: number, gamma: number, groups: number): number;
  /** weight [O,I,3,3] -> its Winograd transform, turned round for the input gradient; 0 where there is none. */
  winogradFilter(weight: number, turned: number): number;
  /** x [B,H,W,I] -> [B,H',W',O] with bias [O] or 0; 0 where ATen must do it. */
  winogradConvolution(x: number, filter: number, bias: number, channels: number, padding: number): number;
  /** x [B,H,W,I], dy [B,H',W',O] -> dL/dfilter [3,3,I,O]; 0 where ATen must do it. */
  winogradFilterGradient(x: number, dy: number, padding: number): number;
  /** Of the process: 2 AVX-512 where the processor has it, 1 AVX2 at most (silu too), 0 ATen's convolutions; for tests and comparisons. */
  limitWinograd(level: number): void;
  setThreads(threads: number): void;
  setTensorFloat32(allow: number): void;
  /** Lets cuDNN try its algorithms for each new shape. */
  benchmarkConvolutions(): void;
  /** Gives cached memory back to the system. */
  trim(): void;
  /** Bytes are of the process on that device, live tensors of this thread. */
  resetPeak(device: number): void;
  memory(device: number): { live: number; bytes: number; peakBytes: number; cachedBytes: number };
  about(): { version: string; threads: number; cuda: number; recordings: number };
  /** Where `about().recordings`: the launches until endRecording become one, replayed on the same memory (CUDA graphs). */
  beginRecording?(device: number): number;
  endRecording?(recording: number): void;
  replay?(recording: number): void;
  dropRecording?(recording: number): void;
  strides(handle: number): void;
}

/**
 * Loads the compiled bridge. OpenMP and OpenBLAS read the environment once, while they are loaded with it, so that is set
 * before: in the process itself, since process.env of a worker thread is only a copy.
 */
export function loadNative(path: string): Native {
  const load = createRequire(import.meta.url);
  try {
    const environment = load(join(dirname(path), "environment.node")) as { setDefault(name: string, value: string): void };
    // Waiting threads must sleep, not spin: two spinning teams on a loaded machine were 5 to 10 times slower.
    environment.setDefault("OMP_WAIT_POLICY", "PASSIVE");
    // But not at once: a network's operations follow each other within microseconds, and to be woken takes up to a hundred. This many
    // turns of libgomp's waiting loop are some 0.05 ms. More gains little, and costs a loaded machine much: 17 % of a pass so, 42 % with 5000.
    environment.setDefault("GOMP_SPINCOUNT", "2000");
    // OpenBLAS has a thread pool of its own beside OpenMP's; one of the two is enough.
    environment.setDefault("OPENBLAS_NUM_THREADS", "1");
    return load(path) as Native;
  } catch (error) {
    throw new IsoergError("ENGINE", `the torch bridge ${path} can't be loaded: ${error instanceof Error ? error.message : String(error)}`, {
      hint: "remove build/torch and start again: the bridge is compiled anew against the libtorch that is there now",
      cause: error,
    });
  }
}
