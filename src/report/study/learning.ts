/** How trials came along: their values at each look of the schedule, and their own figures while they trained. */

import type { Job } from "../../sweep/job.js";
import { rungsOf } from "../../sweep/schedule/asha.js";
import { thin } from "../charts/line-chart.js";
import { type TrialCurve, trialsChart } from "../charts/trials-chart.js";
import { type Html, html, NOTHING } from "../html.js";
import type { StepMetrics } from "../run-record.js";
import { formatSetting } from "./axes.js";
import { boundsOfTrials, lookOf } from "./look.js";
import { axisTitle, METRICS, metricOf, scaledMetric } from "./metric.js";
import type { Standing } from "./standing.js";
import type { StudyRecord } from "./study-record.js";

const MAX_POINTS = 60;
const MAX_PLACES = 8;

export function learningFigures(record: StudyRecord, standing: Standing, best: number | null): Html[] {
  return [validationFigure(record, standing, best), trainingFigure(record, standing, best)].filter((figure) => figure !== NOTHING);
}

/** Amounts of training that the schedule looks at, and how many trials were seen there. */
function looks({ spec: { schedule }, epochs, jobs }: StudyRecord): { readonly epochs: number; readonly count: number }[] {
  const all =
    schedule.kind === "asha" ? rungsOf({ ...schedule, max: epochs }) : [...new Set(jobs.map(({ to }) => to))].sort((a, b) => a - b);
  return all.map((to) => ({ epochs: to, count: jobs.filter((job) => job.to === to && job.result !== null).length }));
}

function validationFigure(record: StudyRecord, standing: Standing, best: number | null): Html {
  const { spec, jobs } = record;
  const { metric } = spec;
  const seen = looks(record).filter(({ count }) => count > 0);
  if (seen.length < 2) return NOTHING;
  // Rungs are multiples of each other: only on a logarithmic axis do they stand apart.
  const place = (epochs: number): number => (spec.schedule.kind === "asha" ? Math.log(epochs) : epochs);
  const byTrial = new Map<number, Job[]>();
  for (const job of jobs) if (job.result?.kind === "value") byTrial.set(job.trial, [...(byTrial.get(job.trial) ?? []), job]);
  const valueAfter = (job: Job): number =>
    job.result?.kind === "value" ? scaledMetric(metricOf(job.result.value, metric), metric) : Number.NaN;
  const values = [...byTrial.values()].flat().map(valueAfter);
  const curves = drawnOf(standing, best).flatMap(({ trial, look, failure }): TrialCurve[] => {
    const own = byTrial.get(trial) ?? [];
    if (own.length === 0) return [];
    const points = own.map((job): [number, number] => [place(job.to), valueAfter(job)]);
    return [{ description: `Trial ${trial}`, points, look, crossed: failure !== null, dotted: true }];
  });
  const { numOutside: _, ...y } = boundsOfTrials(values);
  const [from, to] = [place((seen[0] as { epochs: number }).epochs), place((seen.at(-1) as { epochs: number }).epochs)];
  const shown = seen.filter((_one, i) => i % Math.ceil(seen.length / MAX_PLACES) === 0);
  const chart = trialsChart({
    description: `${axisTitle(metric)} of each trial by epochs of training`,
    x: {
      label: spec.schedule.kind === "asha" ? "epochs of training, logarithmic" : "epochs of training",
      from: from - 0.14 * (to - from),
      to: to + 0.02 * (to - from),
      marks: shown.map(({ epochs }) => ({ value: place(epochs), text: formatSetting(epochs) })),
    },
    y: { label: axisTitle(metric), ...y },
    curves,
    places: shown.map(({ epochs, count }) => ({ x: place(epochs), text: `${count} trials` })),
  });
  if (!chart) return NOTHING;
  const what =
    spec.schedule.kind === "asha"
      ? `A dotted line is a rung: there trials are compared, and one in ${spec.schedule.reduction} goes on. A line that crosses others from below shows a trial that a lower rung would have misjudged; if there are many, let the lowest rung be longer.`
      : "A dotted line is where the population was compared; a member that was among the last there went on from another's weights and settings.";
  return html`<figure><h3>On validation images</h3>${chart}<figcaption>${what}</figcaption></figure>`;
}

function trainingFigure(record: StudyRecord, standing: Standing, best: number | null): Html {
  const { spec, curves: read } = record;
  const during = METRICS[spec.metric.name].during.find(({ metric }) =>
    [...read.values()].some((steps) => steps.some((step) => step.metrics[metric] !== undefined)),
  );
  if (!during) return NOTHING;
  const isShare = during.metric.startsWith("accuracy/");
  const pointsOf = (steps: readonly StepMetrics[]): [number, number][] =>
    thin(
      steps.map(({ epoch, metrics }): [number, number] => [epoch, (isShare ? 100 : 1) * (metrics[during.metric] ?? Number.NaN)]),
      MAX_POINTS,
    );
  const curves = drawnOf(standing, best).flatMap(({ trial, look, failure }): TrialCurve[] => {
    const points = pointsOf(read.get(trial) ?? []);
    return points.length < 2 ? [] : [{ description: `Trial ${trial}`, points, look, crossed: failure !== null, dotted: false }];
  });
  const { numOutside, ...y } = boundsOfTrials(curves.flatMap(({ points }) => points.map(([, value]) => value)));
  const last = Math.max(...curves.flatMap(({ points }) => points.map(([x]) => x)), 0);
  const inside = looks(record).filter(({ count }) => count > 0);
  const places = inside.length < 2 ? [] : inside.slice(-MAX_PLACES);
  const chart = trialsChart({
    description: `${during.title} of each trial by epochs of training`,
    x: { label: "epochs of training", from: 0, to: last === 0 ? 1 : last * 1.01 },
    y: { label: isShare ? "share right, %" : "energy", ...y },
    curves,
    places: places.filter(({ epochs }) => epochs <= last * 1.01).map(({ epochs }) => ({ x: epochs, text: "" })),
  });
  if (!chart) return NOTHING;
  const seeds = spec.seeds > 1 ? " The first seed of each trial." : "";
  const beyond = numOutside > 0 ? " Values far beyond the others are drawn at the edge." : "";
  return html`<figure><h3>While they trained</h3>${chart}<figcaption>${during.title.replace(/^./, (letter) => letter.toUpperCase())}, averaged over stretches of steps.${seeds}${beyond} A line that still rises at its end would gain from more training; one that jumps is a training at the edge of divergence.</figcaption></figure>`;
}

/** Trials in the order of drawing, the best last. */
function drawnOf({ trials }: Standing, best: number | null) {
  const ordered = [...trials.filter(({ trial }) => trial !== best), ...trials.filter(({ trial }) => trial === best)];
  return ordered.map((trial) => ({ ...trial, look: lookOf(trial, best) }));
}
