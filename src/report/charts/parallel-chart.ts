/**
 * Parallel coordinates (Inselberg, "The plane with parallel coordinates", 1985): an axis for each quantity, a line for each thing that
 * has them. The axes lie flat, one below the other, so that long names and values can be read at a phone's width.
 */
import { type Html, html } from "../html.js";
import { round } from "./frame.js";

export interface ParallelAxis {
  readonly name: string;
  /** Places in [0,1] and what they say. */
  readonly marks: readonly { readonly value: number; readonly text: string }[];
}

export interface ParallelLine {
  /** Shown where a pointer rests on it. */
  readonly description: string;
  /** A place in [0,1] on each axis. */
  readonly at: readonly number[];
  /** Of the style sheet. */
  readonly look: string;
  /** A cross at its end. */
  readonly crossed: boolean;
}

export interface ParallelChartOptions {
  readonly description: string;
  readonly axes: readonly ParallelAxis[];
  /** The last are drawn over the others. */
  readonly lines: readonly ParallelLine[];
}

const WIDTH = 440;
const SIDE = 20;
const TOP = 24;
const ROW = 62;
const BOTTOM = 26;
const CROSS = 4;
const CHARACTER = 5.9; // mean width of a mark's text

/** A chart, or undefined where there is no line or no second axis. */
export function parallelChart({ description, axes, lines }: ParallelChartOptions): Html | undefined {
  if (lines.length === 0 || axes.length < 2) return undefined;
  const height = TOP + ROW * (axes.length - 1) + BOTTOM;
  const [left, right, top, bottom] = [SIDE, WIDTH - SIDE, TOP, TOP + ROW * (axes.length - 1)];
  const placeX = (u: number): number => round(left + Math.min(1, Math.max(0, u)) * (right - left));
  const placeY = (axis: number): number => TOP + ROW * axis;
  const drawn = lines.map(({ description: about, at, look, crossed }) => {
    const [x, y] = [placeX(at[axes.length - 1] ?? 0), placeY(axes.length - 1)];
    const path = `M${axes.map((_, axis) => `${placeX(at[axis] ?? 0)} ${placeY(axis)}`).join("L")}`;
    return html`
<path class="trial ${look}" d="${path}"><title>${about}</title></path>${
      crossed
        ? html`<path class="cross" d="M${x - CROSS} ${y - 2 * CROSS}L${x + CROSS} ${y}M${x - CROSS} ${y}L${x + CROSS} ${y - 2 * CROSS}"/>`
        : html``
    }`;
  });
  const scales = axes.map(({ name, marks }, axis) => {
    const y = placeY(axis);
    return html`
<line class="axis" x1="${left}" x2="${right}" y1="${y}" y2="${y}"/>${plate(left, y - 8, name)}<text class="label" x="${left}" y="${y - 8}">${name}</text>${fitting(
      marks,
    ).map(({ value, text }) => {
      const x = placeX(value);
      return html`<line class="axis" x1="${x}" x2="${x}" y1="${y}" y2="${y + 4}"/>${plate(x - (text.length * CHARACTER) / 2, y + 16, text)}<text class="tick" x="${x}" y="${y + 16}" text-anchor="middle">${text}</text>`;
    })}`;
  });
  return html`<svg class="chart" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${description}" data-plot="${left} ${top - 2 * CROSS} ${right} ${bottom}">
<title>${description}</title>${drawn}${scales}
</svg>`;
}

/** The ground of a text that lines run under. */
function plate(x: number, y: number, text: string): Html {
  return html`<rect class="plate" x="${round(x - 1.5)}" y="${y - 9.5}" width="${round(text.length * CHARACTER + 3)}" height="12" rx="2"/>`;
}

/** The marks that have room beside each other; texts that are too long for their room are cut short. */
function fitting(marks: ParallelAxis["marks"]): ParallelAxis["marks"] {
  const room = WIDTH - 2 * SIDE;
  const sorted = [...marks].sort((a, b) => a.value - b.value);
  const most = Math.max(4, Math.floor(room / Math.max(1, sorted.length) / CHARACTER) - 1);
  const shown: { value: number; text: string }[] = [];
  let end = Number.NEGATIVE_INFINITY;
  for (const { value, text } of sorted) {
    const short = text.length > most ? `${text.slice(0, most - 1)}…` : text;
    const half = (short.length * CHARACTER) / 2;
    if (value * room - half < end + 4) continue;
    shown.push({ value, text: short });
    end = value * room + half;
  }
  return shown;
}
