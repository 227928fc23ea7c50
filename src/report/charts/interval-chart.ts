/** Few measured points, each with its interval, joined by a line: accuracy against a budget or a radius. */
import { type Html, html } from "../html.js";
import { createFrame, DASHES, type FrameOptions, type Tone } from "./frame.js";

export interface IntervalSeries {
  readonly name: string;
  readonly tone: Tone;
  /** In ascending x. */
  readonly points: readonly { readonly x: number; readonly y: number; readonly low: number; readonly high: number }[];
}

export interface IntervalChartOptions {
  readonly description: string;
  readonly source?: string;
  readonly x: FrameOptions["x"];
  readonly y: FrameOptions["y"];
  readonly series: readonly IntervalSeries[];
}

/** A chart, or undefined where there is no point. */
export function intervalChart({ description, source, x, y, series }: IntervalChartOptions): Html | undefined {
  const shown = series.filter(({ points }) => points.length > 0);
  if (shown.length === 0) return undefined;
  const frame = createFrame({ description, ...(source !== undefined && { source }), x, y, legend: shown.length > 1 ? shown : [] });
  const drawn = shown.map(({ tone, points }) => {
    const at = points.map((point) => ({
      x: frame.placeX(point.x),
      y: frame.placeY(point.y),
      low: frame.placeY(point.low),
      high: frame.placeY(point.high),
    }));
    const bars = at.map((point) => `M${point.x} ${point.low}V${point.high}`).join("");
    const line = `M${at.map((point) => `${point.x} ${point.y}`).join("L")}`;
    return html`
<path class="interval ${tone}" d="${bars}"/>${at.length > 1 ? html`<path class="series ${tone}" stroke-dasharray="${DASHES[tone]}" d="${line}"/>` : html``}${at.map(
      (point) => html`<circle class="dot ${tone}" cx="${point.x}" cy="${point.y}" r="3.2"/>`,
    )}`;
  });
  return frame.wrap(drawn);
}
