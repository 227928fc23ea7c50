/**
 * A study that `isoerg sweep` made, as one HTML page: the best settings, every trial, which settings decide and how sure that is, how
 * the trials came along. A study that is under way has a page too. Written for the one who has to decide what to train next.
 */
import { formatCount, formatPercent } from "../../evaluate/format.js";
import { isFinished, lastJobs } from "../../sweep/job.js";
import type { SweepSpec } from "../../sweep/spec.js";
import { summarise, type TrialSummary } from "../../sweep/summary.js";
import { type Html, html, NOTHING } from "../html.js";
import { renderPage, type Writing, writtenBy } from "../page.js";
import { settingsTable } from "../settings-table.js";
import { formatSetting } from "./axes.js";
import { coordinatesFigure } from "./coordinates.js";
import { importanceBlock } from "./importance.js";
import { learningFigures } from "./learning.js";
import { formatMetric, METRICS } from "./metric.js";
import { standingOf } from "./standing.js";
import type { StudyRecord } from "./study-record.js";
import { bestTable, trialsTable } from "./trials-table.js";

export function renderStudyReport(record: StudyRecord, options: Writing): string {
  const { name, spec, space, jobs } = record;
  const trials = summarise(jobs, spec);
  const best = trials.find(({ metric }) => metric !== null) ?? null;
  const standing = standingOf(jobs);
  const { bars, effects } = importanceBlock(record);
  const learning = learningFigures(record, standing, best?.trial ?? null);
  const none = html`<p class="missing">No trial of this study has a value yet.</p>`;
  return renderPage({
    title: `${name}: isoerg sweep`,
    heading: name,
    subtitle: subtitleOf(record),
    main: html`${best ? summary(record, trials, best) : none}
${best ? bestSection(record, best) : NOTHING}
${
  trials.length === 0
    ? NOTHING
    : html`<section><h2>Settings and results</h2>
<div class="charts">${coordinatesFigure(record, standing, best?.trial ?? null)}<div class="stack">${bars}</div></div>
${effects.length === 0 ? NOTHING : html`<h3>What the settings do</h3><div class="charts">${effects}</div>`}</section>`
}
${learning.length === 0 ? NOTHING : html`<section><h2>Learning curves</h2><p>Colours are those of the picture above; the best trial is the thick line.</p><div class="charts">${learning}</div></section>`}
${
  trials.length === 0
    ? NOTHING
    : html`<section><h2>All trials</h2><p>${orderOf(spec)} ${spec.seeds === 1 ? "Each point was trained with one seed, so there is no interval: a difference between neighbours may be the seed's." : `A figure is the mean over ${spec.seeds} seeds; under it stands Student's 95 % interval of that mean.`}</p>
${trialsTable(trials, space, spec)}</section>`
}
<section><h2>What these figures do not say</h2>${limits(record, trials, best)}</section>
<section><h2>The sweep</h2>${settingsTable({ ...spec, epochs: record.epochs }, "Settings of the sweep")}</section>`,
    footer: `${writtenBy(options)} from study.jsonl and the trials' metrics.jsonl.`,
  });
}

function subtitleOf({ spec, jobs, epochs }: StudyRecord): string {
  const search = { grid: "grid", random: "random search", sobol: "Sobol points", tpe: "TPE" }[spec.search.kind];
  const schedule = { full: "every trial to the end", asha: "ASHA", pbt: "population-based training" }[spec.schedule.kind];
  const running = jobs.filter((job) => !isFinished(job)).length;
  return [
    `sweep over ${spec.experiment}`,
    `${search}, ${schedule}, up to ${formatSetting(epochs)} epochs`,
    `judged by ${METRICS[spec.metric.name].title}`,
    ...(running > 0 ? [`${formatCount(running)} ${running === 1 ? "job" : "jobs"} under way or left open`] : []),
  ].join(" · ");
}

function summary({ spec, jobs, epochs }: StudyRecord, trials: readonly TrialSummary[], best: TrialSummary): Html {
  const { metric, seeds } = spec;
  const { what } = METRICS[metric.name];
  const peers = trials.filter((trial) => trial.metric !== null && trial.epochs === best.epochs);
  const inReach = peers.filter((trial) => trial !== best && overlap(trial, best)).length;
  const failed = trials.filter((trial) => trial.metric === null);
  const spent = jobs.filter(isFinished).reduce((sum, { from, to }) => sum + (to - from), 0);
  const whole = lastJobs(jobs).size * epochs;
  const tile = (figure: string, text: string): Html => html`<div class="tile"><b>${figure}</b><span>${text}</span></div>`;
  const value = formatMetric(best.metric as number, metric);
  const interval =
    seeds > 1
      ? ` (${[-1, 1].map((sign) => formatMetric((best.metric as number) + sign * best.interval, metric).replace(/ %$/, "")).join(" to ")}, ${seeds} seeds)`
      : "";
  return html`<p class="lead">Of ${formatCount(trials.length)} trials, trial ${best.trial} is the best: ${value}${interval} after ${formatSetting(best.epochs)} epochs. Judged was ${what}; ${metric.goal === "max" ? "more" : "less"} is better.${
    metric.name !== "clean" && best.measured.clean !== undefined
      ? ` Its clean accuracy there is ${formatPercent(best.measured.clean)}.`
      : ""
  }${
    seeds > 1 && inReach > 0
      ? ` The intervals of ${formatCount(inReach)} other ${inReach === 1 ? "trial" : "trials"} of equal length overlap with its own: these are as good as far as this study can tell.`
      : ""
  }</p>
<div class="tiles">
${tile(value, `${METRICS[metric.name].title} of the best${seeds > 1 ? `, mean of ${seeds} seeds` : ", one seed"}`)}
${tile(peers.length > 1 ? formatMetric(medianOf(peers), metric) : "-", `the median of the ${formatCount(peers.length)} ${peers.length === 1 ? "trial" : "trials"} that trained as long`)}
${tile(`${formatCount(trials.length)}`, `trials with a result${failed.length === 0 ? "" : `, ${formatCount(failed.length)} of them without a value`}`)}
${tile(formatPercent(spent / Math.max(whole, 1e-9)), `of the training that all trials to the end would take: ${formatSetting(round(spent))} of ${formatSetting(round(whole))} epochs${seeds > 1 ? " a seed" : ""}`)}
</div>`;
}

function overlap(a: TrialSummary, b: TrialSummary): boolean {
  return Math.abs((a.metric as number) - (b.metric as number)) <= a.interval + b.interval;
}

function medianOf(trials: readonly TrialSummary[]): number {
  const values = trials.map(({ metric }) => metric as number).sort((a, b) => a - b);
  const middle = values.length / 2;
  return values.length % 2 === 1
    ? (values[Math.floor(middle)] as number)
    : ((values[middle - 1] as number) + (values[middle] as number)) / 2;
}

function round(epochs: number): number {
  return Math.round(100 * epochs) / 100;
}

function bestSection({ space, spec, best: file }: StudyRecord, best: TrialSummary): Html {
  return html`<section><h2>The best settings</h2>
${bestTable(best, space)}
${file === undefined ? html`<p class="note">When the sweep is over it writes them as an experiment, best.yaml.</p>` : html`<p>They are an experiment now, with everything else that <code>${spec.experiment}</code> sets: <code>isoerg train ${file}</code></p>`}</section>`;
}

function orderOf({ schedule }: SweepSpec): string {
  return schedule.kind === "full"
    ? "The best first."
    : "Those that trained longest first, then by value: values after different amounts of training can't be compared.";
}

function limits({ spec }: StudyRecord, trials: readonly TrialSummary[], best: TrialSummary | null): Html {
  const valued = trials.filter(({ metric }) => metric !== null).length;
  return html`<ul>
<li>All values are of ${formatCount(spec.validation)} validation images${spec.metric.name === "clean" ? "" : `, ${formatCount(spec.attacked)} of them attacked`}, kept back from the training split; no test image was read.</li>
${best && valued > 1 ? html`<li>The best of ${formatCount(valued)} is chosen for being high on these images, so its figure is too good by the luck of the choice. Train it anew, with other seeds, and evaluate it on test images: <code>isoerg evaluate</code>.</li>` : NOTHING}
${spec.metric.name === "clean" || spec.metric.name === "gap" ? NOTHING : html`<li>PGD-20 only ranks trials; it is an upper bound of robustness. <code>isoerg evaluate RUN --attacks standard</code> runs AutoAttack.</li>`}
<li>Which settings decide holds for the ranges that were searched, and after the training that is stated: a rate that is best after a short training may not be after a long one.</li>
</ul>`;
}
