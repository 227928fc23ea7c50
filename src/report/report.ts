/**
 * A run, or several side by side, as one HTML page that stands alone: no request leaves it, and a policy in it forbids any.
 * Written for someone who has to decide whether a model is good enough; each picture is followed by what to see in it.
 *
 * The first run is the subject, the others are what it is compared with. Every figure comes from evaluation.json or metrics.jsonl.
 */
import type { Evaluation, ModelEvaluation } from "../evaluate/evaluation.js";
import { formatAttack, formatCount, formatEps, formatNumber, formatPercent } from "../evaluate/format.js";
import { curvesSection } from "./curves.js";
import { energyFigure } from "./energies.js";
import { type Column, figuresTable } from "./figures-table.js";
import { Html, html, NOTHING } from "./html.js";
import { distinctNames, type RunRecord, type StepMetrics } from "./run-record.js";
import { settingsTable } from "./settings-table.js";
import { STYLE } from "./style.js";

export interface ReportOptions {
  readonly now: Date;
  readonly isoergVersion: string;
}

/** @param runs at least one; the subject first. */
export function renderReport(runs: readonly RunRecord[], options: ReportOptions): string {
  const records = distinctNames(runs);
  const [subject] = records;
  if (!subject) throw new Error("bug in isoerg: a report of no run");
  const columns = columnsOf(records);
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>${subject.name}: isoerg report</title>
<style>
${new Html(STYLE)}
</style>
</head>
<body>
<header>
<h1>${subject.name}</h1>
<p class="soft">${subtitle(subject, records)}</p>
</header>
<main>
${summary(subject.evaluation)}
${energiesSection(columns)}
<section><h2>Figures</h2>
${columns.length > 0 ? html`<p>All on samples that training never saw. The interval under an accuracy is where the true value lies with 95 % confidence, given the number of samples.</p>` : NOTHING}
${figuresTable(columns)}
${limits(subject.evaluation)}</section>
${samplesSection(records)}
${records.map(
  (record) => html`<section><h2>${records.length > 1 ? `Training: ${record.name}` : "Training"}</h2>
${trainingLine(record)}
${curvesSection(record.steps)}</section>
`,
)}
<section><h2>Settings and origin</h2>
${records.map((record, index) => origin(record, index === 0 ? "open" : "closed"))}</section>
</main>
<footer><p class="note">Written by isoerg ${options.isoergVersion} on ${options.now.toISOString().slice(0, 16).replace("T", " ")} UTC from ${subject.evaluation ? "evaluation.json, " : ""}metrics.jsonl and config.yaml of ${records.length === 1 ? "the run" : "the runs"}.</p></footer>
</body>
</html>
`;
  return page.toString();
}

function columnsOf(records: readonly RunRecord[]): Column[] {
  const columns: Column[] = [];
  for (const { name, evaluation } of records) {
    if (!evaluation) continue;
    columns.push({ name: records.length > 1 ? name : "Trained", model: evaluation.trained, evaluation });
  }
  const { evaluation } = records[0] as RunRecord;
  if (evaluation?.untrained) columns.push({ name: "Before training", model: evaluation.untrained, evaluation });
  return columns;
}

function subtitle({ steps, evaluation }: RunRecord, records: readonly RunRecord[]): string {
  const numSteps = steps.at(-1)?.step;
  return [
    evaluation
      ? `${evaluation.data.name}, step ${formatCount(evaluation.step)}, ${evaluation.trained.weights} weights`
      : numSteps === undefined
        ? ""
        : `step ${formatCount(numSteps + 1)}`,
    records.length > 1
      ? `compared with ${records
          .slice(1)
          .map(({ name }) => name)
          .join(", ")}`
      : "",
  ]
    .filter((part) => part !== "")
    .join(" · ");
}

function summary(evaluation: Evaluation | undefined): Html {
  if (!evaluation)
    return html`<p class="missing">This run is not evaluated yet. <code>isoerg evaluate RUN</code> measures accuracy, robustness and energies; then write the report again.</p>`;
  const { trained } = evaluation;
  const attack = trained.attacks[0];
  const robust = trained.worstCase ?? attack?.accuracy;
  const tile = (figure: string, text: string): Html => html`<div class="tile"><b>${figure}</b><span>${text}</span></div>`;
  const interval = ([low, high]: readonly [number, number]): string => `${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)} %`;
  const inStd = (gap: ModelEvaluation["gaps"]["adversarial"]): string =>
    gap?.wassersteinOverStd == null ? "-" : formatNumber(gap.wassersteinOverStd);
  return html`<p class="lead">${inWords(evaluation)}</p>
<div class="tiles">
${tile(formatPercent(trained.clean.accuracy), `right on clean test samples (${interval(trained.clean.interval)})`)}
${robust && attack ? tile(formatPercent(robust.accuracy), `right under ${trained.worstCase ? "the strongest of the attacks" : formatAttack(attack)} (${interval(robust.interval)})`) : NOTHING}
${trained.gaps.adversarial ? tile(inStd(trained.gaps.adversarial), "standard deviations between the energies of clean and adversarial samples; 0 is full alignment") : NOTHING}
${trained.gaps.generated ? tile(inStd(trained.gaps.generated), "standard deviations between the energies of clean and generated samples; 0 is full alignment") : NOTHING}
</div>`;
}

/** The result in two sentences for someone who has never heard of energies. */
function inWords({ trained }: Evaluation): string {
  const outOf100 = (share: number): string => `about ${Math.round(100 * share)}`;
  const first = `Of 100 test samples as they are, the model names ${outOf100(trained.clean.accuracy)} right.`;
  const attack = trained.attacks[0];
  const robust = trained.worstCase ?? attack?.accuracy;
  if (!attack || !robust) return first;
  const change =
    attack.norm === "linf"
      ? `moved each pixel by up to ${formatEps(attack.eps)} of its range`
      : `changed the image by up to ${formatEps(attack.eps)} in Euclidean distance`;
  return `${first} When someone who knows the model has ${change} so as to mislead it, ${outOf100(robust.accuracy)} are still right.`;
}

function limits(evaluation: Evaluation | undefined): Html {
  if (!evaluation) return NOTHING;
  const { trained, settings } = evaluation;
  return html`<details><summary>What these figures do not say</summary><ul>
<li>The attacks are projected gradient ascent${trained.attacks[0] ? html` of ${trained.attacks[0].steps} steps` : NOTHING}. Stronger ones exist (AutoAttack, adaptive attacks) and may find more mistakes: an accuracy under attack is an upper bound, never a guarantee.</li>
<li>It holds for the stated budget and norm, on ${formatCount(settings.samples)} test samples, for one training with one seed. Other disturbances (blur, shift, another camera) are not measured here.</li>
<li>A small energy gap alone does not make a model robust; read it beside the accuracy under attack.</li>
<li>Generated samples are ${formatCount(settings.freshChains)} fresh chains of ${formatCount(settings.freshSteps)} steps, none left out. Their energies say that the model finds them plausible, not that people do: look at them.</li>
</ul></details>`;
}

function energiesSection(columns: readonly Column[]): Html {
  if (columns.length === 0) return NOTHING;
  return html`<section><h2>Energies</h2>
<p>The energy of a sample is low where the model expects data. In a well aligned model the three shapes lie over each other: an attacker can't push a sample out of where the model feels at home, and what the model draws is as plausible to it as real data. Each picture has an axis of its own.</p>
<div class="charts">${columns.map(({ name, model }) => energyFigure(name, model))}</div></section>`;
}

function samplesSection(records: readonly RunRecord[]): Html {
  const drawn = records.filter(({ samples }) => samples !== undefined);
  if (drawn.length === 0) return NOTHING;
  return html`<section><h2>Generated samples</h2>
<div class="charts">${drawn.map(({ name, samples, evaluation }) => {
    if (!samples) return NOTHING;
    const about = evaluation
      ? ` Fresh chains of ${formatCount(evaluation.settings.freshSteps)} steps, none left out, arranged by the class that the model sees in them.`
      : "";
    return html`<figure><h3>${records.length > 1 ? `${name}, step ${samples.step}` : `Step ${samples.step}`}</h3><img class="grid-image" alt="Grid of samples that the model generated" src="data:image/png;base64,${samples.png.toString("base64")}"><figcaption>What the model draws when it follows its own energy downhill from a random start.${about} Look for recognisable objects and for variety; many equal pictures would mean that the chains have collapsed.</figcaption></figure>`;
  })}</div></section>`;
}

function trainingLine({ steps }: RunRecord): Html {
  const first = steps[0];
  const last = steps.at(-1);
  if (!first || !last) return NOTHING;
  const seconds = (Date.parse(last.time) - Date.parse(first.time)) / 1000;
  const workers = [...new Set(steps.map(({ worldSize }) => worldSize))].sort((a, b) => a - b);
  return html`<p>${formatCount(last.step + 1)} steps, ${formatNumber(last.epoch)} passes over the data, ${workers.join(" to ")} ${workers.length === 1 && workers[0] === 1 ? "worker" : "workers"}, ${formatDuration(seconds)}.${phases(steps)}</p>`;
}

/** Where a step's time goes, on rank 0. */
function phases(steps: readonly StepMetrics[]): string {
  const totals = new Map<string, number>();
  for (const { phasesMs } of steps)
    for (const [name, ms] of Object.entries(phasesMs[0] ?? {})) totals.set(name, (totals.get(name) ?? 0) + ms);
  const all = [...totals.values()].reduce((sum, ms) => sum + ms, 0);
  if (all === 0) return "";
  const shares = [...totals].sort((a, b) => b[1] - a[1]).filter(([, ms]) => ms / all >= 0.005);
  return ` Time by phase: ${shares.map(([name, ms]) => `${name} ${Math.round((100 * ms) / all)} %`).join(", ")}.`;
}

function formatDuration(seconds: number): string {
  if (!(seconds >= 0)) return "unknown time";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function origin({ name, config, evaluation, environment }: RunRecord, state: "open" | "closed"): Html {
  const facts: Record<string, unknown> = evaluation
    ? {
        "data set": evaluation.data.name,
        "data digest (sha256 of its manifest)": evaluation.data.digest,
        classes: evaluation.data.classes,
        "evaluated at": evaluation.evaluatedAt,
        "evaluated with": `isoerg ${evaluation.isoergVersion}, engine ${evaluation.engine.name} (${evaluation.engine.version}) on ${evaluation.engine.device}`,
      }
    : { "data set": config.data.path };
  return html`<h3>${name}</h3>
${settingsTable(facts)}
${environment === undefined ? NOTHING : html`<details><summary>Environment</summary>${settingsTable(environment)}</details>`}
<details${state === "open" ? html` open` : NOTHING}><summary>Settings</summary>${settingsTable(config)}</details>`;
}
