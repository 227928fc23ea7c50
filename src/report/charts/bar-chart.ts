/** Shares as flat bars, one below the other, each with its range and a mark that it has to pass. Long names stand above their bars. */
import { type Html, html } from "../html.js";
import { round, ticks } from "./frame.js";

export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
  /** A line across the bar. */
  readonly mark?: number;
  /** Whether it is drawn as one that counts. */
  readonly look: "full" | "faint";
  /** Written at the bar's end. */
  readonly text: string;
}

export interface BarChartOptions {
  readonly description: string;
  readonly xLabel: string;
  readonly bars: readonly Bar[];
}

const WIDTH = 440;
const LEFT = 12;
const RIGHT = 62;
const ROW = 36;
const BOTTOM = 42;

/** A chart from 0, or undefined where there is no bar. */
export function barChart({ description, xLabel, bars }: BarChartOptions): Html | undefined {
  if (bars.length === 0) return undefined;
  const to = 1.04 * Math.max(1e-9, ...bars.flatMap(({ value, high, mark = 0 }) => [value, high, mark]));
  const [top, bottom, right] = [4, 4 + ROW * bars.length, WIDTH - RIGHT];
  const placeX = (value: number): number => round(LEFT + (value / to) * (right - LEFT));
  const drawn = bars.map(({ name, value, low, high, mark, look, text }, i) => {
    const y = top + ROW * i;
    const ends = `M${placeX(low)} ${y + 25}H${placeX(high)}M${placeX(low)} ${y + 22}V${y + 28}M${placeX(high)} ${y + 22}V${y + 28}`;
    return html`
<text class="label" x="${LEFT}" y="${y + 12}">${name}</text><path class="area clean ${look}" d="M${placeX(0)} ${y + 18}H${placeX(value)}V${y + 32}H${placeX(0)}Z"/><path class="series clean" d="M${placeX(value)} ${y + 18}V${y + 32}"/><path class="interval plain" d="${ends}"/>${
      mark === undefined ? html`` : html`<path class="bound" d="M${placeX(mark)} ${y + 15}V${y + 35}"/>`
    }<text class="legend" x="${right + 6}" y="${y + 29}">${text}</text>`;
  });
  const marks = ticks(0, to, 5).map(
    ({ value, text }) =>
      html`<line class="axis" x1="${placeX(value)}" x2="${placeX(value)}" y1="${bottom}" y2="${bottom + 4}"/><text class="tick" x="${placeX(value)}" y="${bottom + 16}" text-anchor="middle">${text}</text>`,
  );
  return html`<svg class="chart" viewBox="0 0 ${WIDTH} ${bottom + BOTTOM}" role="img" aria-label="${description}" data-plot="${LEFT} ${top} ${right} ${bottom}">
<title>${description}</title>${drawn}
<line class="axis" x1="${LEFT}" x2="${right}" y1="${bottom}" y2="${bottom}"/>${marks}
<text class="label" x="${(LEFT + right) / 2}" y="${bottom + BOTTOM - 8}" text-anchor="middle">${xLabel}</text>
</svg>`;
}
