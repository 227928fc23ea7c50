/** Charts that lay several runs over each other, where what they show was measured in the same way. */

import type { Tone } from "./charts/frame.js";
import { lineChart, thin } from "./charts/line-chart.js";
import { type Html, html, NOTHING } from "./html.js";
import { budgetChart, certifiedChart, type NamedRobustness } from "./robustness.js";
import type { RunRecord, StepMetrics } from "./run-record.js";

/** Of the runs, in their order; further runs are left to sections of their own. */
export const RUN_TONES: readonly Tone[] = ["clean", "adversarial", "generated", "buffer", "plain", "second"];

const MAX_POINTS = 120;

interface Toned {
  readonly record: RunRecord;
  readonly tone: Tone;
}

/** Nothing for one run. */
export function comparisonSection(records: readonly RunRecord[]): Html {
  if (records.length < 2) return NOTHING;
  const runs = records.slice(0, RUN_TONES.length).map((record, i): Toned => ({ record, tone: RUN_TONES[i] as Tone }));
  const figures = [
    ...budgetFigures(runs),
    ...certifiedFigures(runs),
    curve(runs, "Clean accuracy on training batches", "share right, %", (step) => times100(step.metrics["accuracy/clean"])),
    curve(runs, "Accuracy under attack on training batches", "share right, %", (step) => times100(step.metrics["accuracy/adversarial"])),
  ].filter((figure) => figure !== NOTHING);
  if (figures.length === 0) return NOTHING;
  return html`<section><h2>Side by side</h2><p>The same measurement of each run in one picture. Colours and dashes tell the runs apart.</p>
<div class="charts">${figures}</div></section>`;
}

/** One picture for each norm: budgets of two norms can't be compared. */
function budgetFigures(runs: readonly Toned[]): Html[] {
  return (["linf", "l2"] as const).flatMap((norm) => {
    const measured = robust(runs).filter(({ robustness }) => robustness.norm === norm && robustness.curve.length > 0);
    const chart = measured.length > 1 ? budgetChart(measured) : undefined;
    return chart
      ? [
          html`<figure><h3>Accuracy against the budget</h3>${chart}<figcaption>Each run on the samples that it gets right without attack, so all begin at 100 %: the picture compares how they fall, the table above how many are right.</figcaption></figure>`,
        ]
      : [];
  });
}

function certifiedFigures(runs: readonly Toned[]): Html[] {
  const measured = robust(runs).filter(({ robustness }) => robustness.certification !== null);
  const chart = measured.length > 1 ? certifiedChart(measured) : undefined;
  if (!chart) return [];
  const noises = new Set(measured.map(({ robustness }) => robustness.certification?.sigma));
  const note = noises.size > 1 ? " The runs were smoothed with different noise, which the radii depend on." : "";
  return [html`<figure><h3>Certified accuracy</h3>${chart}<figcaption>Guaranteed by randomised smoothing.${note}</figcaption></figure>`];
}

function robust(runs: readonly Toned[]): NamedRobustness[] {
  return runs.flatMap(({ record: { name, evaluation }, tone }) =>
    evaluation?.robustness ? [{ name, tone, robustness: evaluation.robustness }] : [],
  );
}

/** Against the share of the training, since runs differ in length. */
function curve(runs: readonly Toned[], title: string, yLabel: string, value: (step: StepMetrics) => number | undefined): Html {
  const series = runs.flatMap(({ record: { name, steps }, tone }) => {
    const last = steps.at(-1)?.step ?? 0;
    const points = steps.map((step): [number, number] => [step.step, value(step) ?? Number.NaN]);
    const thinned = thin(points, MAX_POINTS).map(([step, y]): [number, number] => [(100 * step) / Math.max(1, last), y]);
    return thinned.length >= 2 ? [{ name, tone, points: thinned }] : [];
  });
  if (series.length < 2) return NOTHING;
  const chart = lineChart({ description: `${title} by run`, xLabel: "share of the training, %", yLabel, includeZero: true, series });
  if (!chart) return NOTHING;
  return html`<figure><h3>${title}</h3>${chart}<figcaption>On batches of training, smoothed; figures on unseen samples stand in the table.</figcaption></figure>`;
}

function times100(share: number | undefined): number | undefined {
  return share === undefined ? undefined : 100 * share;
}
