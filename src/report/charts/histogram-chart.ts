/** Distributions over each other on one axis, each as the share of its own samples in shared bins: filled steps, see-through. */
import { histogram, sharedBins } from "../../evaluate/figures/histogram.js";
import { type Html, html } from "../html.js";
import { createFrame, DASHES, type Tone } from "./frame.js";

export interface Distribution {
  readonly name: string;
  readonly tone: Tone;
  readonly values: readonly number[];
}

export interface HistogramChart {
  readonly chart: Html;
  readonly numBins: number;
  /** Of all distributions; they are left out of the picture, and the caption should say so. */
  readonly numOutside: number;
}

const NUM_BINS = 40;

/** A chart, or undefined where there are no samples. */
export function histogramChart(options: {
  description: string;
  source?: string;
  xLabel: string;
  distributions: readonly Distribution[];
}): HistogramChart | undefined {
  const shown = options.distributions.filter(({ values }) => values.length > 0);
  if (shown.length === 0) return undefined;
  const bins = sharedBins(
    shown.map(({ values }) => values),
    NUM_BINS,
  );
  const histograms = shown.map(({ name, tone, values }) => {
    const { counts, below, above } = histogram(values, bins);
    return { name, tone, shares: counts.map((count) => (100 * count) / values.length), outside: below + above };
  });
  const highest = Math.max(...histograms.flatMap(({ shares }) => shares));
  const frame = createFrame({
    description: options.description,
    ...(options.source !== undefined && { source: options.source }),
    x: { label: options.xLabel, from: bins.from, to: bins.to },
    y: { label: "share of samples, %", from: 0, to: highest * 1.06 },
    legend: shown,
  });
  const shapes = histograms.map(({ tone, shares }) => {
    const edge = (bin: number): number => frame.placeX(bins.from + (bin * (bins.to - bins.from)) / bins.numBins);
    // The outline runs along the tops of the bars only; empty stretches at both ends are left out, so shapes stay apart.
    const first = shares.findIndex((share) => share > 0);
    const last = shares.findLastIndex((share) => share > 0);
    const floor = frame.placeY(0);
    let top = `M${edge(first)} ${floor}`;
    for (let bin = first; bin <= last; bin++) top += `V${frame.placeY(shares[bin] as number)}H${edge(bin + 1)}`;
    const outline = `${top}V${floor}`;
    return html`
<path class="area ${tone}" d="${outline}Z"/><path class="series ${tone}" stroke-dasharray="${DASHES[tone]}" d="${outline}"/>`;
  });
  const numOutside = histograms.reduce((sum, { outside }) => sum + outside, 0);
  return { chart: frame.wrap(shapes), numBins: bins.numBins, numOutside };
}
