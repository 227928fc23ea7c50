/** Axes of settings: each domain laid out from 0 to 1 as searchers see it, so that a logarithmic one is logarithmic in pictures too. */
import type { Domain, Setting } from "../../sweep/space.js";
import { ticks } from "../charts/frame.js";

export interface UnitMark {
  /** In [0,1]. */
  readonly value: number;
  readonly text: string;
}

export function marksOf(domain: Domain): readonly UnitMark[] {
  if (domain.kind === "choice") {
    const n = domain.values.length;
    return domain.values.map((value, i) => ({ value: (i + 0.5) / n, text: formatSetting(value) }));
  }
  const { kind, low, high } = domain;
  switch (kind) {
    case "uniform":
      return ticks(low, high, 4).map(({ value, text }) => ({ value: Math.max(0, (value - low) / (high - low)), text }));
    case "int":
      return ticks(low, high, Math.min(6, high - low))
        .filter(({ value }) => Number.isInteger(value))
        .map(({ value, text }) => ({ value: (value - low + 0.5) / (high - low + 1), text }));
    case "log-uniform":
      return logMarks(low, high).map((value) => ({ value: Math.log(value / low) / Math.log(high / low), text: formatSetting(value) }));
    default:
      return kind satisfies never;
  }
}

/** Round values of a logarithmic axis: powers of ten, with 2 and 5 between them where they are few; else the ends. */
function logMarks(low: number, high: number): number[] {
  const inside = (factors: readonly number[]): number[] => {
    const found: number[] = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++)
      for (const factor of factors) {
        const value = Number(`${factor}e${power}`);
        if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) found.push(value);
      }
    return found;
  };
  const powers = inside([1]);
  if (powers.length >= 3) return powers.length <= 7 ? powers : powers.filter((_, i) => i % Math.ceil(powers.length / 7) === 0);
  const more = inside([1, 2, 5]);
  return more.length >= 2 ? more : [low, high];
}

/** A setting as a person reads it. */
export function formatSetting(value: Setting | undefined): string {
  return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(3))) : String(value);
}

/** "0.001 to 0.01, logarithmic" */
export function describeDomain(domain: Domain): string {
  if (domain.kind === "choice") return domain.values.map(formatSetting).join(", ");
  const range = `${formatSetting(domain.low)} to ${formatSetting(domain.high)}`;
  return domain.kind === "log-uniform" ? `${range}, logarithmic` : domain.kind === "int" ? `${range}, whole numbers` : range;
}
