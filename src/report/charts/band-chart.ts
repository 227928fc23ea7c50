/** Lines with bands around them: a middle, and ranges that hold more and more. Bands of several series are see-through. */
import { type Html, html } from "../html.js";
import { type Axis, createFrame, DASHES, type Tone } from "./frame.js";

export interface BandPoint {
  readonly x: number;
  readonly middle: number;
  /** The widest first. */
  readonly ranges: readonly (readonly [low: number, high: number])[];
}

export interface BandSeries {
  readonly name: string;
  readonly tone: Tone;
  /** In ascending x, all with equally many ranges. */
  readonly points: readonly BandPoint[];
}

export interface BandChartOptions {
  readonly description: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly BandSeries[];
}

/** A chart, or undefined where no series has two points. */
export function bandChart({ description, x, y, series }: BandChartOptions): Html | undefined {
  const shown = series.filter(({ points }) => points.length >= 2);
  if (shown.length === 0) return undefined;
  const frame = createFrame({ description, x, y, legend: shown.length > 1 ? shown : [] });
  const place = (at: number, value: number): string => `${frame.placeX(at)} ${frame.placeY(Math.min(y.to, Math.max(y.from, value)))}`;
  const areas = shown.flatMap(({ tone, points }) =>
    (points[0]?.ranges ?? []).map((_, range) => {
      const upper = points.map((point) => place(point.x, point.ranges[range]?.[1] ?? point.middle));
      const lower = points.map((point) => place(point.x, point.ranges[range]?.[0] ?? point.middle)).reverse();
      return html`
<path class="area ${tone}" d="M${[...upper, ...lower].join("L")}Z"/>`;
    }),
  );
  const middles = shown.map(
    ({ tone, points }) => html`
<path class="series ${tone}" stroke-dasharray="${DASHES[tone]}" d="M${points.map((point) => place(point.x, point.middle)).join("L")}"/>`,
  );
  return frame.wrap([...areas, ...middles]);
}
