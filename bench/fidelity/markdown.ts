/** The comparison as Markdown: a table for each data set, what it does not say, and the verdict on each claim. */
import { DATASETS, METHODS } from "./cells.js";
import type { CellFigures, CellResult, GapFigures } from "./results.js";
import { spreadOf, Table } from "./summary.js";
import { decide } from "./verdicts.js";

export function markdownOf(results: readonly CellResult[]): string {
  const parts = ["# Fidelity: what each method does to accuracy, robustness, samples and energies\n", INTRODUCTION];
  for (const { name, title } of DATASETS) {
    const cells = results.filter(({ dataset }) => dataset === name);
    if (!cells.some(({ figures }) => figures)) continue;
    const table = new Table(cells);
    parts.push(`## ${title}\n`, tableOf(table), failuresOf(cells), "### Claims\n");
    for (const { claim, verdict, because } of decide(table))
      parts.push(`- **${verdict}**: ${claim}.\n${because.map((one) => `  - ${one}\n`).join("")}`);
  }
  return `${parts.filter((part) => part !== "").join("\n")}\n`;
}

const INTRODUCTION = `Mean and standard deviation over seeds. Figures are on test images; no setting was chosen on them here. The same small network, number
of images seen, optimizer and sampler for all methods, unless the method's file in bench/fidelity says otherwise; the times differ.

- clean: accuracy on all test images. PGD-20: under 20 steps on cross-entropy; APGD: on what is left by 50 steps of Auto-PGD on
  cross-entropy and, where that fails, on the DLR loss. Both on the first 1,000 test images: upper bounds of the robust accuracy.
- gaps: E(other) - E(clean): signed mean; mean absolute, of pairs; W1 / std: first Wasserstein distance over the deviation of clean energies.
- Fréchet distance to the test images in the features of a classifier trained here in the ordinary way, once for each data set. It is
  not FID. Of 600 fresh chains of 100 steps, and of the replay buffer. Methods without a sampler of their own use the shared one.
- alarms: how often the stability guard took a training back, over all seeds.
`;

type Column = readonly [title: string, cell: (results: readonly CellResult[]) => string];

function tableOf(table: Table): string {
  const rows = METHODS.filter(({ name }) => table.of(name).length > 0).map(({ name, title }) => {
    const results = table.of(name);
    return `| ${title} | ${COLUMNS.map(([, cell]) => cell(results)).join(" | ")} |`;
  });
  return [`| method | ${COLUMNS.map(([title]) => title).join(" | ")} |`, `| --- |${" --- |".repeat(COLUMNS.length)}`, ...rows, ""].join(
    "\n",
  );
}

const COLUMNS: readonly Column[] = [
  ["clean %", percent((figures) => figures.clean)],
  ["PGD-20 %", percent((figures) => figures.pgd20)],
  ["APGD %", percent((figures) => figures.apgd)],
  ["adversarial gap: signed; absolute; W1 / std", gap((figures) => figures.adversarial)],
  ["generated gap, fresh: signed; W1 / std", gap((figures) => figures.generated)],
  ["buffer gap: signed; W1 / std", gap((figures) => figures.buffer)],
  ["Fréchet, fresh", number((figures) => figures.frechetFresh)],
  ["Fréchet, buffer", number((figures) => figures.frechetBuffer)],
  ["alarms", (results) => String(results.reduce((sum, { alarms }) => sum + alarms.length, 0))],
  ["training s", (results) => Math.round(spreadOf(results.map(({ trainSeconds }) => trainSeconds)).mean).toString()],
];

function values(results: readonly CellResult[], figure: (figures: CellFigures) => number | null | undefined): number[] {
  return results.flatMap(({ figures }) => {
    const value = figures && figure(figures);
    return typeof value === "number" ? [value] : [];
  });
}

function percent(figure: (figures: CellFigures) => number): Column[1] {
  return (results) =>
    show(
      values(results, (figures) => 100 * figure(figures)),
      (value) => value.toFixed(1),
    );
}

function number(figure: (figures: CellFigures) => number | null): Column[1] {
  return (results) => show(values(results, figure), digits);
}

function gap(of: (figures: CellFigures) => GapFigures | null): Column[1] {
  return (results) => {
    const absolute = values(results, (figures) => of(figures)?.absolute);
    return [
      show(
        values(results, (figures) => of(figures)?.signed),
        (value) => `${value > 0 ? "+" : ""}${digits(value)}`,
      ),
      ...(absolute.length > 0 ? [show(absolute, digits)] : []),
      show(
        values(results, (figures) => of(figures)?.wassersteinOverStd),
        digits,
      ),
    ].join("; ");
  };
}

function show(list: readonly number[], format: (value: number) => string): string {
  if (list.length === 0) return "-";
  const { mean, std, n } = spreadOf(list);
  return n > 1 ? `${format(mean)} ± ${digits(std)}` : format(mean);
}

function digits(value: number): string {
  return Number(value.toPrecision(2)).toString();
}

function failuresOf(results: readonly CellResult[]): string {
  const failed = results.filter(({ failure }) => failure !== null);
  if (failed.length === 0) return "";
  return `Without figures:\n\n${failed.map(({ method, seed, failure }) => `- ${method}, seed ${seed}: ${failure}`).join("\n")}\n`;
}
