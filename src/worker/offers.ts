/**
 * What this worker has offered to others at the beginning of a generation: copies of its state as it was before the first step,
 * kept until that step may be computed. A generation that breaks while it forms is followed by another with the same step, so
 * older offers of that step stay good: a row that was given away and whose receiver died is still here.
 */
import type { StatePart } from "../checkpoint/state-part.js";
import { IsoergError } from "../util/error.js";
import type { Range } from "../util/range.js";
import { intersect } from "../util/ranges.js";
import { Change } from "./change.js";

export class Offers {
  readonly #change = new Change();
  #kept: { readonly step: number; readonly parts: readonly StatePart[] }[] = [];
  /** The generation that this worker is in or gives to; 0 before the first. */
  #generation = 0;
  #hasOffered = false;
  #isClosed = false;

  /** A generation begins for this worker, at this step. Offers of other steps are of no use any more. */
  begin(generation: number, step: number): void {
    this.#generation = generation;
    this.#hasOffered = false;
    this.#kept = this.#kept.filter((offer) => offer.step === step);
    this.#change.notify();
  }

  add(step: number, parts: readonly StatePart[]): void {
    this.#kept.push({ step, parts });
    this.#hasOffered = true;
    this.#change.notify();
  }

  /** Everyone has what they need: the memory is free. */
  drop(): void {
    this.#kept = [];
    this.#change.notify();
  }

  close(): void {
    this.#isClosed = true;
    this.#kept = [];
    this.#change.notify();
  }

  /** All offers that hold for a generation. @throws IsoergError STOPPED when that is over, or this worker ends. */
  async of(generation: number, signal: AbortSignal): Promise<readonly StatePart[]> {
    const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    while (!this.#isClosed && !signal.aborted && (this.#generation < generation || (this.#generation === generation && !this.#hasOffered)))
      await Promise.race([this.#change.wait(), aborted]);
    if (this.#isClosed || signal.aborted || this.#generation > generation)
      throw new IsoergError("STOPPED", `generation ${generation} takes nothing from this worker any more`);
    return this.#kept.flatMap(({ parts }) => parts);
  }

  /** Rows of these positions that this worker itself offered earlier in this step. */
  ownRows(step: number, wanted: readonly Range[]): StatePart[] {
    const parts = this.#kept.filter((offer) => offer.step === step).flatMap((offer) => offer.parts);
    return wanted.flatMap((range) => rowsOf(parts, range));
  }
}

/** The rows of the buffer's tensors that lie in a range. */
export function rowsOf(parts: readonly StatePart[], range: Range): StatePart[] {
  return parts.flatMap((part) => {
    if (part.file !== "buffer") return [];
    const perRow = part.shape.slice(1).reduce((product, size) => product * size, 1);
    const common = intersect({ from: part.row, to: part.row + part.data.length / perRow }, range);
    if (common === null) return [];
    return [{ ...part, row: common.from, data: part.data.subarray((common.from - part.row) * perRow, (common.to - part.row) * perRow) }];
  });
}

/** Positions of which every tensor of the buffer is there. */
export function rowsCovered(parts: readonly StatePart[], tensors: readonly string[] = ["chains", "ages"]): Range[] {
  const byTensor = tensors.map((tensor) =>
    parts
      .filter((part) => part.file === "buffer" && part.tensor === tensor)
      .map(({ row, shape, data }) => ({ from: row, to: row + data.length / shape.slice(1).reduce((product, size) => product * size, 1) })),
  );
  const [first = [], ...others] = byTensor;
  return others.reduce<Range[]>((common, ranges) => common.flatMap((a) => ranges.flatMap((b) => intersect(a, b) ?? [])), first);
}
