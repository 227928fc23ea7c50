/**
 * A tensor engine as the rest of the program sees it: started once per process or thread, described to people, measured.
 * The tensors themselves go through TensorFlow.js (`tf.*`) and the declared extras (`ops.ts`).
 */

export type EngineName = "torch" | "tensorflow" | "wasm" | "cpu";

export interface EngineOptions {
  /** `auto` takes the fastest that works on this machine. */
  readonly engine: EngineName | "auto";
  /** `cpu`, `cuda` or `cuda:N`. */
  readonly device: string;
  /** Threads that one engine may use for one operation. */
  readonly threads: number;
}

export interface Engine {
  readonly name: EngineName;
  readonly device: string;
  readonly threads: number;
  /** Of the library below, for example `libtorch 1.13.1`. */
  readonly version: string;
  /** Whether `bf16` passes are computed as such here, and whether the processor has instructions for them. */
  readonly bf16: { readonly supported: boolean; readonly fast: boolean };
  /** Why this engine was chosen, and what was tried before it, in one sentence for people. */
  readonly why: string;
  memory(): { numTensors: number; bytes: number; peakBytes: number };
}
