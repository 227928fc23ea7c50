/** How often a model is right against how sure it is: a bar for each bin, and the line on which both would be equal. */
import { type Html, html } from "../html.js";
import { createFrame } from "./frame.js";

export interface ReliabilityBin {
  readonly from: number;
  readonly to: number;
  readonly count: number;
  readonly confidence: number | null;
  readonly accuracy: number | null;
}

/** A chart, or undefined where no bin holds a sample. */
export function reliabilityChart(description: string, source: string, bins: readonly ReliabilityBin[]): Html | undefined {
  const filled = bins.flatMap(({ accuracy, confidence, ...bin }) =>
    accuracy === null || confidence === null ? [] : [{ ...bin, accuracy, confidence }],
  );
  if (filled.length === 0) return undefined;
  const frame = createFrame({
    description,
    source,
    x: { label: "how sure the model is, %", from: 0, to: 100 },
    y: { label: "how often it is right, %", from: 0, to: 105 },
    legend: [
      { name: "measured", tone: "clean" },
      { name: "sure exactly as often as right", tone: "second" },
    ],
  });
  const floor = frame.placeY(0);
  const bars = filled.map(({ from, to, accuracy }) => {
    const [left, right] = [frame.placeX(100 * from), frame.placeX(100 * to)];
    const outline = `M${left} ${floor}V${frame.placeY(100 * accuracy)}H${right}V${floor}`;
    return html`
<path class="area clean" d="${outline}Z"/><path class="series clean" d="${outline}"/>`;
  });
  const dots = filled.map(
    ({ confidence, accuracy }) =>
      html`<circle class="dot clean" cx="${frame.placeX(100 * confidence)}" cy="${frame.placeY(100 * accuracy)}" r="2.6"/>`,
  );
  const diagonal = html`
<path class="series second" stroke-dasharray="6 3" d="M${frame.placeX(0)} ${floor}L${frame.placeX(100)} ${frame.placeY(100)}"/>`;
  return frame.wrap([...bars, diagonal, ...dots]);
}
