/** The table of figures: one column a model, each accuracy with its interval, each budget in pixels, each figure with its source. */
import type { AttackEvaluation, Evaluation, ModelEvaluation } from "../evaluate/evaluation.js";
import { formatAttack, formatCount, formatEps, formatNumber, formatPercent, formatSigned } from "../evaluate/format.js";
import { cite, citeAccuracy, type Doc } from "./cite.js";
import { type Html, html } from "./html.js";
import { cascadeName } from "./robustness.js";
import { docOf, type RunRecord } from "./run-record.js";

export interface Column {
  readonly name: string;
  readonly model: ModelEvaluation;
  readonly evaluation: Evaluation;
  /** Where the model's figures stand. */
  readonly doc: Doc;
  /** The run whose trained model this is; null for the untrained network. */
  readonly record: RunRecord | null;
}

interface Row {
  readonly label: string;
  readonly note?: string;
  readonly cell: (column: Column) => Html;
}

const NONE = html`<td class="none">not measured</td>`;

export function figuresTable(columns: readonly Column[]): Html {
  const first = columns[0];
  if (!first)
    return html`<p class="missing">No run of this report is evaluated yet. <code>isoerg evaluate RUN</code> measures what belongs here.</p>`;
  const groups: { readonly title: string; readonly rows: readonly Row[] }[] = [
    {
      title: "Accuracy, with 95 % confidence",
      rows: [
        {
          label: "Clean samples",
          note: `${formatCount(first.model.clean.total)} test samples`,
          cell: ({ doc }) => accuracyCell(doc, "/clean"),
        },
        ...attackRows(columns),
        ...(columns.some(({ model }) => model.worstCase)
          ? [
              {
                label: "Under every attack above",
                note: "a sample counts when it survives them all",
                cell: ({ model, doc }: Column) => (model.worstCase ? accuracyCell(doc, "/worstCase") : NONE),
              },
            ]
          : []),
        ...cascadeRows(columns),
      ],
    },
    ...analysisGroups(columns),
    { title: "Energy gap, adversarial to clean", rows: gapRows("adversarial", "paired") },
    { title: "Energy gap, generated (fresh chains) to clean", rows: gapRows("generated", "unpaired") },
    ...(columns.some(({ model }) => model.gaps.buffer)
      ? [{ title: "Energy gap, replay buffer to clean", rows: gapRows("buffer", "unpaired") }]
      : []),
    {
      title: "Clean energies",
      rows: [{ label: "Mean and standard deviation", cell: meanCell }],
    },
  ];
  return html`<div class="scroll" role="group" tabindex="0" aria-label="Figures"><table class="figures"><caption class="hidden">Accuracy, robustness and energy gaps of each model</caption>
<thead><tr><th scope="col">Figure</th>${columns.map(({ name }) => html`<th scope="col">${name}</th>`)}</tr></thead>
${groups.map(
  ({ title, rows }) => html`<tbody><tr><th class="group" scope="rowgroup" colspan="${columns.length + 1}">${title}</th></tr>
${rows.map(
  ({ label, note, cell }) => html`<tr><th scope="row">${label}${note ? html`<small>${note}</small>` : html``}</th>${columns.map(cell)}</tr>
`,
)}</tbody>`,
)}
</table></div>`;
}

/** Attacks are the same row only where all that defines them is the same. */
function attackRows(columns: readonly Column[]): Row[] {
  const keyOf = (attack: AttackEvaluation): string =>
    JSON.stringify([attack.name, attack.norm, attack.eps, attack.stepSize, attack.start, attack.restarts]);
  const all = new Map(columns.flatMap(({ model }) => model.attacks.map((attack): [string, AttackEvaluation] => [keyOf(attack), attack])));
  return [...all].map(([key, attack]) => ({
    label: formatAttack(attack),
    note: `budget in pixels of [0,1]; largest change measured ${attack.largestDistance.toFixed(5)}; ${formatCount(attack.accuracy.total)} test samples`,
    cell: ({ model, doc }) => {
      const same = model.attacks.findIndex((candidate) => keyOf(candidate) === key);
      return same < 0 ? NONE : accuracyCell(doc, `/attacks/${same}/accuracy`);
    },
  }));
}

/** AutoAttack and the like: a row for each way in which it was run, so that only equal things stand side by side. */
function cascadeRows(columns: readonly Column[]): Row[] {
  const keyOf = ({ record }: Column): string | undefined => {
    const robustness = record?.evaluation?.robustness;
    if (!robustness?.robust) return undefined;
    const { norm, eps, standard, samples, attacks } = robustness;
    return JSON.stringify([norm, eps, standard, samples, attacks.map(({ title }) => title)]);
  };
  const firsts = new Map(columns.toReversed().map((column) => [keyOf(column), column]));
  return [...firsts].reverse().flatMap(([key, { record }]) => {
    const robustness = record?.evaluation?.robustness;
    if (key === undefined || !robustness) return [];
    const { norm, eps, samples, attacks } = robustness;
    return [
      {
        label: `${cascadeName(robustness)}, ${norm === "linf" ? "Linf" : "L2"} ${formatEps(eps)}`,
        note: `${formatCount(samples)} test samples; ${attacks.map(({ title }) => title).join("; ")}`,
        cell: (column: Column) =>
          column.record && keyOf(column) === key ? accuracyCell(docOf(column.record, "evaluation.json"), "/robustness/robust") : NONE,
      },
    ];
  });
}

/** Of analysis.json, where a run of the table has one: calibration, and images that are not the model's data. */
function analysisGroups(columns: readonly Column[]): { title: string; rows: Row[] }[] {
  const analyses = columns.flatMap(({ record }) => (record?.analysis ? [record.analysis] : []));
  if (analyses.length === 0) return [];
  const row = (label: string, note: string, pointer: (column: Column) => string | undefined, format: (v: number) => string): Row => ({
    label,
    note,
    cell: (column) => {
      const at = column.record?.analysis ? pointer(column) : undefined;
      return at === undefined || !column.record ? NONE : html`<td>${cite(docOf(column.record, "analysis.json"), at, format)}</td>`;
    },
  });
  const others = new Set(
    analyses.flatMap(({ sets }) =>
      sets.filter(({ kind }) => kind === "noise" || kind === "interpolation" || kind === "other-data").map(({ name }) => name),
    ),
  );
  const indexOf = (column: Column, name: string): string | undefined => {
    const index = column.record?.analysis?.detection.findIndex(({ set }) => set === name) ?? -1;
    return index < 0 ? undefined : `/detection/${index}/energy/auroc`;
  };
  return [
    {
      title: "Confidence and unknown images",
      rows: [
        row(
          "Expected calibration error",
          "how far confidence is off, without temperature; 0 is best",
          () => "/calibration/before/ece",
          formatPercent,
        ),
        ...[...others].map((name) =>
          row(
            `Telling ${name} apart by energy`,
            "AUROC; 0.5 is guessing, 1 is perfect",
            (column) => indexOf(column, name),
            (v) => v.toFixed(3),
          ),
        ),
      ],
    },
  ];
}

function gapRows(other: "adversarial" | "generated" | "buffer", kind: "paired" | "unpaired"): Row[] {
  const row = (label: string, note: string, pointer: string, format: (value: number) => string): Row => ({
    label,
    note,
    cell: ({ model, doc }) => {
      const gap = model.gaps[other];
      const isThere = gap !== null && (pointer !== "/wassersteinOverStd" || gap.wassersteinOverStd !== null);
      return isThere && (pointer !== "/meanAbsolute" || gap.meanAbsolute !== null)
        ? html`<td>${cite(doc, `/gaps/${other}${pointer}`, format)}</td>`
        : NONE;
    },
  });
  return [
    row("Mean difference", "positive: less likely to the model than clean samples", "/signedMean", formatSigned),
    ...(kind === "paired" ? [row("Mean absolute difference", "of each sample to itself under attack", "/meanAbsolute", formatNumber)] : []),
    row("Wasserstein distance", "how far energy must be moved on average", "/wasserstein", formatNumber),
    row("The same in standard deviations", "of the clean energies; the figure to compare models by", "/wassersteinOverStd", formatNumber),
    row("Overlap", "shared area of the two histograms; 100 % is the same distribution", "/overlap/coefficient", formatPercent),
  ];
}

function accuracyCell(doc: Doc, pointer: string): Html {
  return html`<td>${citeAccuracy(doc, pointer)}</td>`;
}

function meanCell({ model, doc }: Column): Html {
  const kind = model.gaps.adversarial ? "adversarial" : model.gaps.generated ? "generated" : null;
  if (!kind) return NONE;
  return html`<td>${cite(doc, `/gaps/${kind}/meanClean`, formatNumber)}<small>± ${cite(doc, `/gaps/${kind}/stdClean`, formatNumber)}</small></td>`;
}
