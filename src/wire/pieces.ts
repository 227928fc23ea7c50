/**
 * The bytes of one tensor as its blocks bring them: in any order, some perhaps twice. They are kept as they came and copied into one
 * piece when they are taken, since an announced size is only a number in a message: it takes memory when its bytes are there, not before.
 */
import type { Range } from "../util/range.js";

export class Pieces {
  #blocks: { readonly from: number; readonly data: Uint8Array }[] = [];

  add(from: number, data: Uint8Array): void {
    this.#blocks.push({ from, data });
  }

  /** Where bytes are, without holes, in order. An empty block counts where it stands. */
  stretches(): readonly Range[] {
    const found: { from: number; to: number }[] = [];
    for (const { from, data } of this.#blocks.sort((a, b) => a.from - b.from)) {
      const to = from + data.length;
      const last = found.at(-1);
      if (last && from <= last.to) last.to = Math.max(last.to, to);
      else found.push({ from, to });
    }
    return found;
  }

  /** What lies in a range that a stretch covers, copied to the beginning of `target`. */
  copy(range: Range, target: Uint8Array): void {
    for (const { from, data } of this.#blocks) {
      const [begin, end] = [Math.max(from, range.from), Math.min(from + data.length, range.to)];
      if (end > begin) target.set(data.subarray(begin - from, end - from), begin - range.from);
    }
  }
}
