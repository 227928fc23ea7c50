/** Series over a common axis. Long series are drawn as means of equal stretches, which the caption should say. */
import { type Html, html } from "../html.js";
import { type Axis, boundsOf, createFrame, DASHES, DOT_RADIUS, type Frame, round, type Shape, type Tone } from "./frame.js";

export interface Series {
  readonly name: string;
  readonly tone: Tone;
  /** Default: a line. */
  readonly shape?: Shape;
  /** In ascending x; y values that are not finite leave a gap. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface LineChartOptions {
  readonly description: string;
  readonly source?: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
  /** The y axis begins at zero. */
  readonly includeZero?: boolean;
  /** Where the x axis has its marks, and what they say. */
  readonly xMarks?: Axis["marks"];
}

/** A chart, or undefined where no series has two points (dots: one): an empty picture says nothing. */
export function lineChart(options: LineChartOptions): Html | undefined {
  const { description, source, xLabel, yLabel, series, includeZero = false, xMarks } = options;
  const shown = series.filter(({ points, shape }) => points.filter(([, y]) => Number.isFinite(y)).length >= (shape === "dots" ? 1 : 2));
  if (shown.length === 0) return undefined;
  const xs = shown.flatMap(({ points }) => points.map(([x]) => x));
  const ys = shown.flatMap(({ points }) => points.map(([, y]) => y));
  const frame = createFrame({
    description,
    ...(source !== undefined && { source }),
    x: { label: xLabel, from: Math.min(...xs), to: Math.max(Math.max(...xs), Math.min(...xs) + 1), ...(xMarks && { marks: xMarks }) },
    y: { label: yLabel, ...boundsOf(ys, { includeZero }) },
    legend: shown.length > 1 ? shown : [],
  });
  const lines = shown.map(({ tone, points, shape }) => {
    if (shape === "dots") return dots(points, tone, frame);
    let pen = "M";
    let path = "";
    for (const [x, y] of points) {
      if (!Number.isFinite(y)) {
        pen = "M";
        continue;
      }
      path += `${pen}${frame.placeX(x)} ${frame.placeY(y)}`;
      pen = "L";
    }
    return html`
<path class="series ${tone}" stroke-dasharray="${DASHES[tone]}" d="${path}"/>`;
  });
  return frame.wrap(lines);
}

function dots(points: Series["points"], tone: Tone, { placeX, placeY }: Pick<Frame, "placeX" | "placeY">): Html {
  const finite = points.filter(([, y]) => Number.isFinite(y));
  return html`${finite.map(
    ([x, y]) => html`
<circle class="series ${tone}" cx="${placeX(x)}" cy="${placeY(y)}" r="${DOT_RADIUS}"/>`,
  )}`;
}

/** At most `count` points: each is the mean of a stretch of x; stretches without a finite value are left out. */
export function thin(points: readonly (readonly [number, number])[], count: number): [number, number][] {
  const finite = points.filter(([, y]) => Number.isFinite(y));
  if (finite.length <= count) return finite.map(([x, y]) => [x, y]);
  const thinned: [number, number][] = [];
  for (let i = 0; i < count; i++) {
    const from = Math.floor((i * finite.length) / count);
    const stretch = finite.slice(from, Math.floor(((i + 1) * finite.length) / count));
    const mean = (index: 0 | 1): number => stretch.reduce((sum, point) => sum + point[index], 0) / stretch.length;
    thinned.push([round(mean(0)), mean(1)]);
  }
  return thinned;
}
