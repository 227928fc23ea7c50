/**
 * target += source, the one calculation of the ring, with SIMD where the target lies in WebAssembly memory.
 *
 * V8 does not vectorise the scalar loop. The kernel below does 16 floats a turn, but WebAssembly sees only its own memory; so
 * gradients are allocated as shared WebAssembly memory (`allocateSummable`), which is an ordinary SharedArrayBuffer to
 * everybody else, and a received chunk is copied in beside them before it is added. Both ways give the same bits: IEEE 754
 * float32 addition, element by element. Measured figures are in README.md.
 */
import { invariant } from "../util/error.js";
import { ADD_KERNEL } from "./add-kernel.js";
import { type SummableMemory, webAssembly } from "./webassembly.js";

export type { SummableMemory } from "./webassembly.js";

const PAGE_BYTES = 65_536;
const MAX_PAGES = 65_536;
/** At the memory's start: where a chunk is copied to before it is added. */
const SCRATCH_BYTES = 1 << 20;
const FLOAT_BYTES = Float32Array.BYTES_PER_ELEMENT;

type AddKernel = (target: number, source: number, numValues: number) => void;

interface Adder {
  readonly scratch: Float32Array;
  readonly add: AddKernel;
}

/** Kernels by the memory that they work in. Memory that came from another thread has to be adopted first. */
const adders = new WeakMap<ArrayBufferLike, Adder>();
let compiled: object | undefined;
let nativeAdd: ((target: Float32Array, source: Float32Array) => void) | undefined;

/** Shared memory with room for so many floats, to be posted to the thread that sums. */
export function allocateSummable(numValues: number): SummableMemory {
  const pages = Math.ceil((SCRATCH_BYTES + numValues * FLOAT_BYTES) / PAGE_BYTES);
  invariant(pages <= MAX_PAGES, `${numValues} values don't fit in one memory of 4 GiB`);
  return new webAssembly.Memory({ initial: pages, maximum: pages, shared: true });
}

/** Floats [from, from + numValues) of a memory of `allocateSummable`. */
export function summableView(memory: SummableMemory, numValues: number, from = 0): Float32Array {
  return new Float32Array(memory.buffer, SCRATCH_BYTES + from * FLOAT_BYTES, numValues);
}

/** Makes `addInto` fast for targets in this memory, in this thread, which must be the only one that adds. Again is harmless. */
export function adoptSummable(memory: SummableMemory): void {
  if (adders.has(memory.buffer)) return;
  compiled ??= new webAssembly.Module(ADD_KERNEL);
  const { exports } = new webAssembly.Instance(compiled, { env: { memory } });
  adders.set(memory.buffer, {
    scratch: new Float32Array(memory.buffer, 0, SCRATCH_BYTES / FLOAT_BYTES),
    add: exports.add as AddKernel,
  });
}

/** From now on this thread adds with native code, wherever target and source lie. The same bits again. */
export function addNatively(add: (target: Float32Array, source: Float32Array) => void): void {
  nativeAdd = add;
}

/** target[i] += source[i]. The two must not overlap. */
export function addInto(target: Float32Array, source: Float32Array): void {
  invariant(target.length === source.length, `${source.length} values added to ${target.length}`);
  const adder = adders.get(target.buffer);
  if (adder !== undefined) addWithKernel(adder, target, source);
  else if (nativeAdd !== undefined) nativeAdd(target, source);
  else addScalar(target, source);
}

/** The loop that the kernel must agree with, and what memory of other kinds gets. */
export function addScalar(target: Float32Array, source: Float32Array): void {
  const { length } = target;
  for (let i = 0; i < length; i++) target[i] = (target[i] as number) + (source[i] as number);
}

function addWithKernel({ scratch, add }: Adder, target: Float32Array, source: Float32Array): void {
  if (source.buffer === target.buffer) {
    add(target.byteOffset, source.byteOffset, target.length);
    return;
  }
  for (let from = 0; from < source.length; from += scratch.length) {
    const piece = source.subarray(from, from + scratch.length);
    scratch.set(piece);
    add(target.byteOffset + from * FLOAT_BYTES, 0, piece.length);
  }
}
