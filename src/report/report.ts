/**
 * A run, or several side by side, as one HTML page that stands alone: no request leaves it, and a policy in it forbids any.
 * Written for someone who has to decide whether a model is good enough; each picture is followed by what to see in it.
 *
 * The first run is the subject, the others are what it is compared with. Every figure comes from evaluation.json, analysis.json,
 * metrics.jsonl or the journal; those of the first two say from where in them (cite.ts). What a run's folder does not hold is left out,
 * and a list at the end names the command that would fill it.
 */

import type { Costs } from "../evaluate/decision/costs.js";
import { formatCount } from "../evaluate/format.js";
import { calibrationBlock, detectionBlock, qualityBlock, setsBlock, verdictBlock } from "./analysis.js";
import { within } from "./cite.js";
import { comparisonSection } from "./comparison.js";
import { confusionFigure } from "./confusion.js";
import { costsSection } from "./costs.js";
import { energyFigure } from "./energies.js";
import { type Column, figuresTable } from "./figures-table.js";
import { type Html, html, NOTHING } from "./html.js";
import { missingSection } from "./missing.js";
import { renderPage, type Writing, writtenBy } from "./page.js";
import { LEFT_OUT, readableConfig } from "./readable-config.js";
import { robustnessBlock } from "./robustness.js";
import { distinctNames, docOf, isOfAnotherStep, type RunRecord } from "./run-record.js";
import { settingsTable } from "./settings-table.js";
import { limits, summary } from "./summary.js";
import { trainingBlock } from "./training.js";

export interface ReportOptions extends Writing {
  /** What decisions cost their owner; without them there is no section of costs. */
  readonly costs?: Costs;
}

/** @param runs at least one; the subject first. */
export function renderReport(runs: readonly RunRecord[], options: ReportOptions): string {
  const records = distinctNames(runs);
  const [subject] = records;
  if (!subject) throw new Error("bug in isoerg: a report of no run");
  const columns = columnsOf(records);
  return renderPage({
    title: `${subject.name}: isoerg report`,
    heading: subject.name,
    subtitle: subtitle(subject, records),
    main: html`${summary(subject.evaluation, docOf(subject, "evaluation.json"))}
${records.filter(isOfAnotherStep).map(
  ({ name, evaluation, analysis }) =>
    html`<p class="missing">${name}: analysis.json is of step ${formatCount(analysis?.model.step ?? 0)}, evaluation.json of step ${formatCount(evaluation?.step ?? 0)}. Don't read their figures together; <code>isoerg analyze RUN</code> analyses the evaluated step anew.</p>
`,
)}
${perRun(records, "In words", (record) => record.analysis && verdictBlock(record.analysis, docOf(record, "analysis.json")))}
${energiesSection(columns)}
<section><h2>Figures</h2>
${columns.length > 0 ? html`<p>All on samples that training never saw. The interval under an accuracy is where the true value lies with 95 % confidence, given the number of samples.</p>` : NOTHING}
${figuresTable(columns)}
${limits(subject.evaluation)}</section>
${comparisonSection(records)}
${options.costs ? costsSection(records, options.costs) : NOTHING}
${perRun(records, "Robustness", (record) => record.evaluation?.robustness && robustnessBlock(record.evaluation.robustness, within(docOf(record, "evaluation.json"), "/robustness")))}
${perRun(records, "Which mistakes", confusions)}
${perRun(records, "Energies of every kind of image", (record) => record.analysis && setsBlock(record.analysis, docOf(record, "analysis.json")))}
${perRun(records, "Unknown images", (record) => record.analysis && detectionBlock(record.analysis, docOf(record, "analysis.json")))}
${perRun(records, "Confidence", (record) => record.analysis && calibrationBlock(record.analysis, docOf(record, "analysis.json")))}
${perRun(records, "Quality of generated images", (record) => record.analysis && qualityBlock(record.analysis, docOf(record, "analysis.json")))}
${samplesSection(records)}
${perRun(records, "Training", trainingBlock)}
<section><h2>Settings and origin</h2>
${records.map((record, index) => origin(record, index === 0 ? "open" : "closed"))}</section>
${missingSection(records, options.costs !== undefined)}`,
    footer: `${writtenBy(options)} from the files of ${records.length === 1 ? "the run" : "the runs"}. Each figure of evaluation.json and analysis.json names its place there in an attribute, data-source.`,
  });
}

/** A section for each run that has something to show. */
function perRun(records: readonly RunRecord[], title: string, render: (record: RunRecord) => Html | undefined): Html[] {
  return records.flatMap((record) => {
    const part = render(record);
    if (part === undefined || part === NOTHING) return [];
    return [
      html`<section><h2>${records.length > 1 ? `${title}: ${record.name}` : title}</h2>
${part}</section>
`,
    ];
  });
}

function confusions(record: RunRecord): Html | undefined {
  const { evaluation } = record;
  if (!evaluation) return undefined;
  const { trained, data } = evaluation;
  const doc = within(docOf(record, "evaluation.json"), "/trained");
  const found = [
    ...(trained.decisions ? [confusionFigure("Clean test samples", trained.decisions, data.classes, within(doc, "/decisions"))] : []),
    ...trained.attacks.flatMap(({ name, decisions }, i) =>
      decisions ? [confusionFigure(`Under ${name}`, decisions, data.classes, within(doc, `/attacks/${i}/decisions`))] : [],
    ),
  ];
  return found.length === 0 ? undefined : html`<div class="stack">${found}</div>`;
}

function columnsOf(records: readonly RunRecord[]): Column[] {
  const columns: Column[] = [];
  for (const record of records) {
    const { name, evaluation } = record;
    if (!evaluation) continue;
    columns.push({
      name: records.length > 1 ? name : "Trained",
      model: evaluation.trained,
      evaluation,
      record,
      doc: within(docOf(record, "evaluation.json"), "/trained"),
    });
  }
  const subject = records[0] as RunRecord;
  const { evaluation } = subject;
  if (evaluation?.untrained) {
    const doc = within(docOf(subject, "evaluation.json"), "/untrained");
    columns.push({ name: "Before training", model: evaluation.untrained, evaluation, doc, record: null });
  }
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

function energiesSection(columns: readonly Column[]): Html {
  if (columns.length === 0) return NOTHING;
  return html`<section><h2>Energies</h2>
<p>The energy of a sample is low where the model expects data. In a well aligned model the three shapes lie over each other: an attacker can't push a sample out of where the model feels at home, and what the model draws is as plausible to it as real data. Each picture has an axis of its own.</p>
<div class="charts">${columns.map(({ name, model, doc }) => energyFigure(name, model, doc))}</div></section>`;
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
    return html`<figure><h3>${records.length > 1 ? `${name}, step ${formatCount(Number(samples.step))}` : `Drawn at step ${formatCount(Number(samples.step))}`}</h3><img class="grid-image" alt="Grid of samples that the model generated" src="data:image/png;base64,${samples.png.toString("base64")}"><figcaption>What the model draws when it follows its own energy downhill from a random start.${about} Look for recognisable objects and for variety; many equal pictures would mean that the chains have collapsed.</figcaption></figure>`;
  })}</div></section>`;
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
${settingsTable(facts, `Origin of ${name}`)}
${environment === undefined ? NOTHING : html`<details><summary>Environment</summary>${settingsTable(environment, `Environment of ${name}`)}</details>`}
<details${state === "open" ? html` open` : NOTHING}><summary>Settings</summary>${settingsTable(readableConfig(config), `Settings of ${name}`)}<p class="note">${LEFT_OUT}</p></details>`;
}
