/** The table of figures: one column a model, each accuracy with its interval, each budget in pixels, each figure with its source. */
import type { AttackEvaluation, Evaluation, ModelEvaluation } from "../evaluate/evaluation.js";
import { formatAttack, formatCount, formatNumber, formatPercent, formatSigned } from "../evaluate/format.js";
import { cite, citeAccuracy, type Doc } from "./cite.js";
import { type Html, html } from "./html.js";

export interface Column {
  readonly name: string;
  readonly model: ModelEvaluation;
  readonly evaluation: Evaluation;
  /** Where the model's figures stand. */
  readonly doc: Doc;
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
      ],
    },
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
