/** How figures are written for people, the same on the terminal and in the report. */
import type { AttackEvaluation, ModelEvaluation } from "./evaluation.js";

/** 0.0313725 -> "8/255"; a budget that is no multiple of half a grey level stays decimal. */
export function formatEps(eps: number): string {
  const levels = Math.round(eps * 255 * 2) / 2;
  return levels > 0 && Math.abs(levels / 255 - eps) < 1e-6 ? `${levels}/255` : String(Number(eps.toPrecision(4)));
}

export function formatPercent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** "60.3 % (59.3 to 61.3)" */
export function formatAccuracy({ accuracy, interval }: ModelEvaluation["clean"]): string {
  return `${formatPercent(accuracy)} (${(100 * interval[0]).toFixed(1)} to ${(100 * interval[1]).toFixed(1)})`;
}

/** Three significant digits, without an exponent where a person would not write one. */
export function formatNumber(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(1);
  return size >= 100 ? value.toFixed(0) : value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(size))));
}

/** With its sign, which carries meaning. */
export function formatSigned(value: number): string {
  return value > 0 ? `+${formatNumber(value)}` : formatNumber(value);
}

export function formatCount(count: number): string {
  return count.toLocaleString("en-US");
}

/** "PGD-20, cross-entropy, Linf 8/255" */
export function formatAttack({ name, norm, eps }: AttackEvaluation): string {
  return `${name}, ${norm === "linf" ? "Linf" : "L2"} ${formatEps(eps)}`;
}
