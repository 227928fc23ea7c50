/** The table of figures: one column a model, each accuracy with its interval, each budget in pixels. */
import type { AttackEvaluation, Evaluation, ModelEvaluation } from "../evaluate/evaluation.js";
import type { EnergyGap } from "../evaluate/figures/energy-gap.js";
import { formatAttack, formatCount, formatNumber, formatPercent, formatSigned } from "../evaluate/format.js";
import { type Html, html } from "./html.js";

export interface Column {
  readonly name: string;
  readonly model: ModelEvaluation;
  readonly evaluation: Evaluation;
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
          cell: ({ model }) => accuracyCell(model.clean),
        },
        ...attackRows(columns),
        ...(columns.some(({ model }) => model.worstCase)
          ? [
              {
                label: "Under every attack above",
                note: "a sample counts when it survives them all",
                cell: ({ model }: Column) => (model.worstCase ? accuracyCell(model.worstCase) : NONE),
              },
            ]
          : []),
      ],
    },
    { title: "Energy gap, adversarial to clean", rows: gapRows((model) => model.gaps.adversarial, "paired") },
    { title: "Energy gap, generated (fresh chains) to clean", rows: gapRows((model) => model.gaps.generated, "unpaired") },
    ...(columns.some(({ model }) => model.gaps.buffer)
      ? [{ title: "Energy gap, replay buffer to clean", rows: gapRows((model) => model.gaps.buffer, "unpaired") }]
      : []),
    {
      title: "Clean energies",
      rows: [{ label: "Mean and standard deviation", cell: ({ model }) => meanCell(model.gaps.adversarial ?? model.gaps.generated) }],
    },
  ];
  return html`<div class="scroll"><table class="figures">
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
    cell: ({ model }) => {
      const same = model.attacks.find((candidate) => keyOf(candidate) === key);
      return same ? accuracyCell(same.accuracy) : NONE;
    },
  }));
}

function gapRows(gapOf: (model: ModelEvaluation) => EnergyGap | null, kind: "paired" | "unpaired"): Row[] {
  const row = (label: string, note: string, value: (gap: EnergyGap) => string | null): Row => ({
    label,
    note,
    cell: ({ model }) => {
      const gap = gapOf(model);
      const text = gap && value(gap);
      return text === null ? NONE : html`<td>${text}</td>`;
    },
  });
  return [
    row("Mean difference", "positive: less likely to the model than clean samples", (gap) => formatSigned(gap.signedMean)),
    ...(kind === "paired"
      ? [
          row("Mean absolute difference", "of each sample to itself under attack", (gap) =>
            gap.meanAbsolute === null ? null : formatNumber(gap.meanAbsolute),
          ),
        ]
      : []),
    row("Wasserstein distance", "how far energy must be moved on average", (gap) => formatNumber(gap.wasserstein)),
    row("The same in standard deviations", "of the clean energies; the figure to compare models by", (gap) =>
      gap.wassersteinOverStd === null ? null : formatNumber(gap.wassersteinOverStd),
    ),
    row("Overlap", "shared area of the two histograms; 100 % is the same distribution", (gap) => formatPercent(gap.overlap.coefficient)),
  ];
}

function accuracyCell({ accuracy, interval }: ModelEvaluation["clean"]): Html {
  return html`<td><b>${formatPercent(accuracy)}</b><small>${(100 * interval[0]).toFixed(1)} to ${(100 * interval[1]).toFixed(1)}</small></td>`;
}

function meanCell(gap: EnergyGap | null): Html {
  return gap ? html`<td>${formatNumber(gap.meanClean)}<small>± ${formatNumber(gap.stdClean)}</small></td>` : NONE;
}
