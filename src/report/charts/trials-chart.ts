/** Many lines over a common axis, told apart by their look rather than by name, with places of the axis marked across the picture. */
import { type Html, html } from "../html.js";
import { type Axis, createFrame } from "./frame.js";

export interface TrialCurve {
  /** Shown where a pointer rests on it. */
  readonly description: string;
  /** In ascending x. */
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Of the style sheet. */
  readonly look: string;
  /** A cross at its end. */
  readonly crossed: boolean;
  /** A dot at every point. */
  readonly dotted: boolean;
}

export interface TrialsChartOptions {
  readonly description: string;
  readonly x: Axis;
  readonly y: Axis;
  /** The last are drawn over the others. */
  readonly curves: readonly TrialCurve[];
  readonly places: readonly { readonly x: number; readonly text: string }[];
}

const CROSS = 4;

/** A chart, or undefined where no curve has a point. */
export function trialsChart({ description, x, y, curves, places }: TrialsChartOptions): Html | undefined {
  const shown = curves.filter(({ points }) => points.length > 0);
  if (shown.length === 0) return undefined;
  const frame = createFrame({ description, x, y, legend: [] });
  const [top, bottom] = [frame.placeY(y.to), frame.placeY(y.from)];
  const across = places.map(
    (place) => html`
<path class="bound" d="M${frame.placeX(place.x)} ${top}V${bottom}"/><text class="tick halo" x="${frame.placeX(place.x) - 4}" y="${top + 9}" text-anchor="end">${place.text}</text>`,
  );
  const lines = shown.map(({ description: about, points, look, crossed, dotted }) => {
    const at = points.map(([px, py]) => ({ x: frame.placeX(px), y: frame.placeY(Math.min(y.to, Math.max(y.from, py))) }));
    const last = at.at(-1) as { x: number; y: number };
    const within = (value: number): number => Math.min(bottom, Math.max(top, value));
    return html`${
      at.length > 1
        ? html`
<path class="trial ${look}" d="M${at.map((point) => `${point.x} ${point.y}`).join("L")}"><title>${about}</title></path>`
        : html``
    }${dotted ? at.map((point) => html`<circle class="spot ${look}" cx="${point.x}" cy="${point.y}" r="2.6"/>`) : html``}${
      crossed
        ? html`<path class="cross" d="M${last.x - CROSS} ${within(last.y - CROSS)}L${last.x} ${within(last.y + CROSS)}M${last.x - CROSS} ${within(last.y + CROSS)}L${last.x} ${within(last.y - CROSS)}"/>`
        : html``
    }`;
  });
  return frame.wrap([...lines, ...across]);
}
