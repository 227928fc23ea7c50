/**
 * Puts a checkpoint together from the pieces that workers send: each tensor whole, each byte covered.
 *
 * Pieces may come in any order and may overlap (they are the same bytes then). What does not fit the tensor that was
 * announced is refused; a tensor with a hole is found before anything is written to disk.
 */
import type { HostTensor } from "../checkpoint/safetensors.js";
import type { CheckpointContent, CheckpointFile } from "../checkpoint/store.js";
import { IsoergError } from "../util/error.js";
import type { StateBlock } from "../wire/messages.js";
import { Pieces } from "../wire/pieces.js";

const ARRAYS = { F32: Float32Array, I32: Int32Array, U8: Uint8Array } as const;
type Dtype = keyof typeof ARRAYS;

interface Building {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly sizeBytes: number;
  readonly pieces: Pieces;
}

export class StateAssembly {
  readonly #files: Record<CheckpointFile, Map<string, Building>> = { model: new Map(), optimizer: new Map(), buffer: new Map() };

  /** @throws IsoergError PROTOCOL for a piece that contradicts an earlier one or its own shape. */
  add(block: StateBlock): void {
    const file = Object.hasOwn(this.#files, block.file) ? this.#files[block.file as CheckpointFile] : undefined;
    const where = `state of step ${block.step} from rank ${block.rank}: ${block.file}/${block.tensor}`;
    if (file === undefined) throw refused(where, "there is no such file in a checkpoint");
    const tensor = file.get(block.tensor) ?? begin(block, where);
    file.set(block.tensor, tensor);
    if (tensor.dtype !== block.dtype || tensor.shape.join() !== block.shape.join()) {
      throw refused(where, `${block.dtype} [${block.shape.join()}] contradicts ${tensor.dtype} [${tensor.shape.join()}]`);
    }
    if (block.offset + block.data.length > tensor.sizeBytes)
      throw refused(where, `bytes to ${block.offset + block.data.length} of ${tensor.sizeBytes}`);
    tensor.pieces.add(block.offset, block.data);
  }

  /** The tensors, each complete; once. @throws IsoergError PROTOCOL that names a tensor with a hole. */
  content(state: object): CheckpointContent {
    return { files: { model: this.#finish("model"), optimizer: this.#finish("optimizer"), buffer: this.#finish("buffer") }, state };
  }

  #finish(file: CheckpointFile): CheckpointContent["files"][CheckpointFile] {
    const tensors = new Map<string, HostTensor>();
    for (const [name, { dtype, shape, sizeBytes, pieces }] of this.#files[file]) {
      const [first] = pieces.stretches();
      const end = first?.from === 0 ? first.to : 0;
      if (end < sizeBytes) throw refused(`${file}/${name}`, `no worker sent the bytes from ${end} on (of ${sizeBytes})`);
      const bytes = new Uint8Array(sizeBytes);
      pieces.copy({ from: 0, to: sizeBytes }, bytes);
      this.#files[file].delete(name); // the pieces are not needed beside the tensor
      tensors.set(name, { dtype, shape, data: new ARRAYS[dtype](bytes.buffer) });
    }
    return tensors;
  }
}

function begin(block: StateBlock, where: string): Building {
  if (!Object.hasOwn(ARRAYS, block.dtype)) throw refused(where, `dtype ${block.dtype} is not one of ${Object.keys(ARRAYS).join(", ")}`);
  const dtype = block.dtype as Dtype;
  const sizeBytes = block.shape.reduce((product, size) => product * size, ARRAYS[dtype].BYTES_PER_ELEMENT);
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes > 2 ** 33) throw refused(where, `a tensor of ${sizeBytes} bytes`);
  return { dtype, shape: block.shape, sizeBytes, pieces: new Pieces() };
}

function refused(where: string, what: string): IsoergError {
  return new IsoergError("PROTOCOL", `${where}: ${what}`, { hint: "The checkpoint was not written; those before it are intact." });
}
