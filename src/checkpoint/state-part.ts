/**
 * A named tensor of a checkpoint, or the rows of it that one worker holds, on its way between a training loop and the store.
 * The `model` and `optimizer` files are the same on every worker; of `buffer` each worker has the rows of its positions.
 */
export interface StatePart {
  readonly file: "model" | "optimizer" | "buffer";
  readonly tensor: string;
  readonly dtype: "F32" | "I32" | "U8";
  /** Of the whole tensor. */
  readonly shape: readonly number[];
  /** Where `data` begins on the first axis. */
  readonly row: number;
  readonly data: Float32Array | Int32Array | Uint8Array;
}
