/**
 * What all charts share: a plot area with axes, grid lines and legend, as SVG. Colours are the page's CSS variables, so one
 * drawing serves light, dark and print; every series also has its own dash, so that colour is never the only difference.
 *
 * Sizes are in units of the view box; a chart fills the width that it is given and stays readable down to a phone's.
 */
import { type Html, html } from "../html.js";

/** What a series shows; decides colour and dash throughout a report. */
export type Tone = "clean" | "adversarial" | "generated" | "buffer" | "plain" | "second";

export const DASHES: Readonly<Record<Tone, string>> = {
  clean: "none",
  adversarial: "7 3",
  generated: "2 2.5",
  buffer: "9 3 2 3",
  plain: "none",
  second: "6 3",
};

export interface Axis {
  readonly label: string;
  readonly from: number;
  readonly to: number;
  /** Marks other than round values at equal distances. */
  readonly marks?: readonly { readonly value: number; readonly text: string }[];
}

/** A series is drawn as a line, or as separate points: such as what was measured beside what a model says. */
export type Shape = "line" | "dots";

export interface FrameOptions {
  /** Read out in place of the picture, and shown where a pointer rests on it. */
  readonly description: string;
  /** File and JSON pointer of what is drawn. */
  readonly source?: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly legend: readonly { readonly name: string; readonly tone: Tone; readonly shape?: Shape }[];
}

export interface Frame {
  readonly placeX: (value: number) => number;
  readonly placeY: (value: number) => number;
  /** The whole picture around what was drawn with `placeX` and `placeY`. */
  wrap(content: readonly Html[]): Html;
}

const WIDTH = 440;
const HEIGHT = 270;
const LEFT = 52;
const RIGHT = 14;
const BOTTOM = 42;
const LEGEND_ROW = 16;
const CHARACTER = 6.3; // mean width at the legend's size, generous

export function createFrame(options: FrameOptions): Frame {
  const rows = legendRows(options.legend);
  const top = 10 + rows.length * LEGEND_ROW;
  const { x, y } = options;
  const bottom = HEIGHT - BOTTOM;
  const placeX = (value: number): number => round(LEFT + ((value - x.from) / (x.to - x.from)) * (WIDTH - RIGHT - LEFT));
  const placeY = (value: number): number => round(bottom - ((value - y.from) / (y.to - y.from)) * (bottom - top));
  return {
    placeX,
    placeY,
    wrap(content) {
      const xTicks = x.marks ?? ticks(x.from, x.to, 6);
      const yTicks = y.marks ?? ticks(y.from, y.to, 5);
      const yLines = yTicks.map(
        ({ value, text }) => html`
<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${placeY(value)}" y2="${placeY(value)}"/><text class="tick" x="${LEFT - 6}" y="${placeY(value) + 3.5}" text-anchor="end">${text}</text>`,
      );
      const xMarks = xTicks.map(
        ({ value, text }) => html`
<line class="axis" x1="${placeX(value)}" x2="${placeX(value)}" y1="${bottom}" y2="${bottom + 4}"/><text class="tick" x="${placeX(value)}" y="${bottom + 16}" text-anchor="middle">${text}</text>`,
      );
      const source = options.source === undefined ? html`` : html` data-source="${options.source}"`;
      return html`<svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${options.description}" data-plot="${LEFT} ${top} ${WIDTH - RIGHT} ${bottom}"${source}>
<title>${options.description}</title>
${yLines}${content}
<line class="axis" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${bottom}" y2="${bottom}"/>${xMarks}
<text class="label" x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${x.label}</text>
<text class="label" transform="translate(12 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${y.label}</text>
${rows.flatMap((row, index) => row.map((entry) => legendEntry(entry, 12 + index * LEGEND_ROW)))}
</svg>`;
    },
  };
}

interface PlacedEntry {
  readonly name: string;
  readonly tone: Tone;
  readonly shape: Shape;
  readonly left: number;
}

function legendRows(legend: FrameOptions["legend"]): PlacedEntry[][] {
  const rows: PlacedEntry[][] = [];
  let left = WIDTH;
  for (const { name, tone, shape = "line" } of legend) {
    const width = 30 + name.length * CHARACTER + 12;
    if (left + width > WIDTH - RIGHT) {
      rows.push([]);
      left = LEFT;
    }
    rows.at(-1)?.push({ name, tone, shape, left });
    left += width;
  }
  return rows;
}

function legendEntry({ name, tone, shape, left }: PlacedEntry, y: number): Html {
  const sign =
    shape === "dots"
      ? html`<circle class="series ${tone}" cx="${left + 12}" cy="${y - 4}" r="${DOT_RADIUS}"/>`
      : html`<line class="series ${tone}" x1="${left}" x2="${left + 24}" y1="${y - 4}" y2="${y - 4}" stroke-dasharray="${DASHES[tone]}"/>`;
  return html`
${sign}<text class="legend" x="${left + 29}" y="${y}">${name}</text>`;
}

export const DOT_RADIUS = 4;

/** Round values between two bounds, about `count` of them, with labels of equal precision. */
export function ticks(from: number, to: number, count: number): { value: number; text: string }[] {
  const rough = (to - from) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) as number) * power;
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const result: { value: number; text: string }[] = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-9; i++) {
    const value = i * step;
    result.push({ value, text: tickText(i === 0 ? 0 : value, decimals, Math.max(Math.abs(from), Math.abs(to))) });
  }
  return result;
}

function tickText(value: number, decimals: number, largest: number): string {
  if (value === 0) return "0";
  if (largest >= 1e6 || largest < 1e-3) return value.toExponential(1).replace("e+", "e");
  return largest >= 10_000 ? `${Number((value / 1000).toFixed(3))}k` : value.toFixed(decimals);
}

/** Bounds around values, never empty. @param options.includeZero for shares and rates. */
export function boundsOf(values: readonly number[], options: { includeZero?: boolean } = {}): { from: number; to: number } {
  const finite = values.filter(Number.isFinite);
  if (options.includeZero) finite.push(0);
  if (finite.length === 0) return { from: 0, to: 1 };
  const low = finite.reduce((a, b) => Math.min(a, b));
  const high = finite.reduce((a, b) => Math.max(a, b));
  const margin = high > low ? (high - low) * 0.06 : Math.max(Math.abs(high) * 0.1, 0.5);
  return { from: options.includeZero && low === 0 ? 0 : low - margin, to: high + margin };
}

/** Enough digits for a picture. */
export function round(value: number): number {
  return Math.round(value * 100) / 100;
}
