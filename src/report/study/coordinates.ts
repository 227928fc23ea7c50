/** Settings and result of every trial in one picture: parallel coordinates. */
import { formatCount } from "../../evaluate/format.js";
import { unitOf } from "../../sweep/space.js";
import { ticks } from "../charts/frame.js";
import { type ParallelLine, parallelChart } from "../charts/parallel-chart.js";
import { type Html, html, NOTHING } from "../html.js";
import { formatSetting, marksOf } from "./axes.js";
import { boundsOfTrials, failureWord, lookOf, trialKey } from "./look.js";
import { axisTitle, formatMetric, metricOf, scaledMetric } from "./metric.js";
import type { Standing, StandingTrial } from "./standing.js";
import type { StudyRecord } from "./study-record.js";

/** Where trials without a value end on the axis of the metric, and where values begin when there are such trials. */
const FAILED_AT = 0.03;
const VALUES_FROM = 0.14;
/** Up to so many values of a setting, trials of the same value are drawn beside each other. */
const MAX_SPREAD = 12;

export function coordinatesFigure(record: StudyRecord, standing: Standing, best: number | null): Html {
  const { space, spec } = record;
  const { metric } = spec;
  const { trials } = standing;
  const values = trials.flatMap(({ score }) => (score === null ? [] : [scaledMetric(metricOf(score, metric), metric)]));
  const bounds = boundsOfTrials(values);
  const from = trials.some(({ score }) => score === null) ? VALUES_FROM : 0;
  const placeOf = (value: number): number =>
    from + (1 - from) * Math.min(1, Math.max(0, (value - bounds.from) / (bounds.to - bounds.from)));
  const spread = spreadOf(record, standing);
  const amounts = [...new Set(trials.map(({ epochs }) => epochs))].sort((a, b) => a - b);
  const hasAmounts = amounts.length > 1;
  const placeOfAmount = (epochs: number): number => (amounts.indexOf(epochs) + 0.5) / amounts.length;
  const line = (trial: StandingTrial, order: number): ParallelLine => ({
    description: describe(trial, record, standing),
    at: [
      ...unitOf(space, trial.point).map((u, axis) => u + spread(axis, order)),
      ...(hasAmounts ? [placeOfAmount(trial.epochs) + (0.5 / amounts.length) * (order / trials.length - 0.5)] : []),
      trial.score === null ? FAILED_AT : placeOf(scaledMetric(metricOf(trial.score, metric), metric)),
    ],
    look: lookOf(trial, best),
    crossed: trial.failure !== null,
  });
  const lines = trials.map(line);
  const bestAt = trials.findIndex(({ trial }) => trial === best);
  const marks = ticks(bounds.from, bounds.to, 5).map(({ value, text }) => ({ value: placeOf(value), text }));
  const chart = parallelChart({
    description: `Settings and ${axisTitle(metric)} of ${trials.length} trials`,
    axes: [
      ...space.map(({ path, domain }) => ({ name: path, marks: marksOf(domain) })),
      ...(hasAmounts
        ? [{ name: "trained to, epochs", marks: amounts.map((epochs) => ({ value: placeOfAmount(epochs), text: formatSetting(epochs) })) }]
        : []),
      {
        name: `${axisTitle(metric)}, after ${formatSetting(standing.epochs)} epochs`,
        marks: from === 0 ? marks : [{ value: FAILED_AT, text: "no value" }, ...marks.filter(({ value }) => value > from)],
      },
    ],
    lines: bestAt < 0 ? lines : [...lines.slice(0, bestAt), ...lines.slice(bestAt + 1), lines[bestAt] as ParallelLine],
  });
  if (!chart) return NOTHING;
  const beyond = bounds.numOutside === 0 ? "" : ` ${formatCount(bounds.numOutside)} values lie beyond the axis and are drawn at its end.`;
  return html`<figure><h3>Every trial: its settings and what came of it</h3>${chart}${trialKey(standing, record, best)}<figcaption>A line is a trial; follow it from axis to axis. Where lines of one colour meet on an axis, that setting decides; where colours are mixed, it matters little. Trials of the same value are drawn side by side.${beyond}</figcaption></figure>`;
}

function describe({ trial, point, score, epochs, failure }: StandingTrial, { spec }: StudyRecord, standing: Standing): string {
  const settings = Object.entries(point).map(([path, value]) => `${path} ${formatSetting(value)}`);
  const value = score === null ? "no value" : `${formatMetric(metricOf(score, spec.metric), spec.metric)} after ${standing.epochs} epochs`;
  const end = failure ? `, ${failureWord(failure)}` : epochs > standing.epochs ? `, trained to ${epochs}` : "";
  return `Trial ${trial}: ${settings.join(", ")}: ${value}${end}`;
}

/** How far to the side a line is drawn on an axis of few values, by its place in the order. */
function spreadOf({ space }: StudyRecord, { trials }: Standing): (axis: number, order: number) => number {
  const parts = space.map(({ domain }) =>
    domain.kind === "choice" ? domain.values.length : domain.kind === "int" ? domain.high - domain.low + 1 : null,
  );
  return (axis, order) => {
    const n = parts[axis] ?? null;
    return n === null || n > MAX_SPREAD ? 0 : (0.6 / n) * ((order + 0.5) / trials.length - 0.5);
  };
}
