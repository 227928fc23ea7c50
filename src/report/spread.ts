/** How the energies of each kind of sample were spread in the course of a training: their quantiles as bands over the steps. */
import { formatCount } from "../evaluate/format.js";
import { SPREAD_PERCENTS, SPREAD_VIEWS, spreadName } from "../train/energy-spread.js";
import { type BandPoint, bandChart } from "./charts/band-chart.js";
import { boundsOf } from "./charts/frame.js";
import { type Html, html, NOTHING } from "./html.js";
import type { StepMetrics } from "./run-record.js";

const MAX_POINTS = 48;

/** Nothing for runs of before quantiles were written down. */
export function spreadFigure(steps: readonly StepMetrics[]): Html {
  const series = SPREAD_VIEWS.map((view) => ({ name: view, tone: view, points: thinned(steps.flatMap((step) => lookOf(step, view))) }));
  const points = series.flatMap((one) => one.points);
  const chart = bandChart({
    description: "Quantiles of the energies of clean, adversarial and generated samples by training step",
    x: { label: "step", from: 0, to: Math.max(1, ...points.map(({ x }) => x)) },
    y: { label: "E(x)", ...boundsOf(points.flatMap(({ ranges }) => ranges.flat())) },
    series,
  });
  if (!chart) return NOTHING;
  const numLooks = steps.filter((step) => lookOf(step, "clean").length > 0).length;
  return html`<figure><h3>Spread of the energies</h3>${chart}<figcaption>Lines are medians; half of a kind's samples lie in its inner band, nine in ten in its outer one. When the kinds are aligned, their bands cover each other; bands that lie apart under means that are equal show a few samples far off. From ${formatCount(numLooks)} looks at one batch each.</figcaption></figure>`;
}

function lookOf({ step, metrics }: StepMetrics, view: (typeof SPREAD_VIEWS)[number]): BandPoint[] {
  const at = SPREAD_PERCENTS.map((percent) => metrics[spreadName(view, percent)]);
  if (at.some((value) => value === undefined)) return [];
  const [low, lower, middle, upper, high] = at as [number, number, number, number, number];
  return [
    {
      x: step,
      middle,
      ranges: [
        [low, high],
        [lower, upper],
      ],
    },
  ];
}

/** At most MAX_POINTS: each is the mean of a stretch, quantile by quantile. */
function thinned(looks: readonly BandPoint[]): BandPoint[] {
  const count = Math.min(MAX_POINTS, looks.length);
  return Array.from({ length: count }, (_, i) => {
    const stretch = looks.slice(Math.floor((i * looks.length) / count), Math.floor(((i + 1) * looks.length) / count));
    const mean = (of: (look: BandPoint) => number): number => stretch.reduce((sum, look) => sum + of(look), 0) / stretch.length;
    const [first] = stretch as [BandPoint];
    return {
      x: mean(({ x }) => x),
      middle: mean(({ middle }) => middle),
      ranges: first.ranges.map(
        (_range, r) => [mean(({ ranges }) => ranges[r]?.[0] ?? 0), mean(({ ranges }) => ranges[r]?.[1] ?? 0)] as const,
      ),
    };
  });
}
