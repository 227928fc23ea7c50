/** Sets of positions as half-open ranges: what is missing, what two have in common. Inputs in any order; outputs sorted, disjoint, none empty. */
import type { Range } from "./range.js";

/** What of `wanted` is in none of `had`. */
export function subtract(wanted: readonly Range[], had: readonly Range[]): Range[] {
  let left = wanted.filter(({ from, to }) => to > from);
  for (const { from, to } of had) {
    if (to <= from) continue;
    left = left.flatMap((range) => [
      { from: range.from, to: Math.min(range.to, from) },
      { from: Math.max(range.from, to), to: range.to },
    ]);
    left = left.filter((range) => range.to > range.from);
  }
  return merged(left);
}

/** The common part; null for none. */
export function intersect(a: Range, b: Range): Range | null {
  const [from, to] = [Math.max(a.from, b.from), Math.min(a.to, b.to)];
  return to > from ? { from, to } : null;
}

/** Positions in a set of disjoint ranges. */
export function sizeOf(ranges: readonly Range[]): number {
  return ranges.reduce((sum, { from, to }) => sum + to - from, 0);
}

function merged(ranges: readonly Range[]): Range[] {
  const out: { from: number; to: number }[] = [];
  for (const { from, to } of [...ranges].sort((a, b) => a.from - b.from)) {
    const last = out.at(-1);
    if (last !== undefined && from <= last.to) last.to = Math.max(last.to, to);
    else out.push({ from, to });
  }
  return out;
}
