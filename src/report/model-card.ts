/**
 * A model card (Mitchell et al. 2019) in Markdown, from a run's files alone: what the model is, on what it was measured, every figure with its
 * conditions and its place in the files, what is known to be weak and what was not measured. What only its owner can know is marked
 * to be filled in; nothing is made up.
 */
import { formatAttack, formatCount, formatEps, formatNumber, formatPercent, formatSigned } from "../evaluate/format.js";
import { type Doc, sourceOf, valueAt } from "./cite.js";
import { text } from "./markdown.js";
import { limitsOf } from "./model-card-limits.js";
import { cascadeName } from "./robustness.js";
import { docOf, isOfAnotherStep, type RunRecord } from "./run-record.js";

export interface CardOptions {
  readonly now: Date;
  readonly isoergVersion: string;
}

/** What the owner has to write is found by this word. */
export const TO_FILL_IN = "TO BE FILLED IN BY THE OWNER";

export function renderModelCard(record: RunRecord, { now, isoergVersion }: CardOptions): string {
  const { name, evaluation } = record;
  return `${[
    `# Model card: ${text(name)}`,
    `Written by isoerg ${isoergVersion} on ${now.toISOString().slice(0, 10)} from the run's own files. Figures are of those files; the last column of each table says where they stand. Places marked "${TO_FILL_IN}" are not known to the program.`,
    "## Model",
    table(["", ""], modelRows(record)),
    "## Intended use",
    owner("what decisions the model is meant for, by whom they are used, and what happens after a wrong one"),
    owner("uses that are out of scope"),
    owner("license, contact, and who answers for the model"),
    "## Data",
    table(["", ""], dataRows(record)),
    owner("where the data come from, under what license, and whom they show or leave out"),
    "## Figures",
    evaluation || record.analysis
      ? table(["Figure", "Value", "Conditions", "Where it stands"], figureRows(record))
      : "Nothing was measured yet: `isoerg evaluate RUN` and `isoerg analyze RUN` measure it.",
    "## Known limits",
    limitsOf(record)
      .map((limit) => `- ${limit}`)
      .join("\n"),
    "## Considerations",
    owner("risks to people when the model is wrong, and what is done against them"),
    owner("how the model is watched in use, for example with `isoerg monitor`, and when it is taken out of use"),
  ].join("\n\n")}\n`;
}

function modelRows(record: RunRecord): string[][] {
  const { name, config, evaluation, analysis, runId, configDigest, steps } = record;
  const { kind } = config.model;
  return [
    ["Name", text(name)],
    ...(runId === undefined ? [] : [["Run", `\`${runId}\``]]),
    ["Network", text(kind)],
    ...(analysis && !isOfAnotherStep(record)
      ? [
          ["Parameters", formatCount(analysis.model.numParameters)],
          ["Weights (sha256)", `\`${analysis.model.fingerprint}\``],
        ]
      : []),
    ...(evaluation ? [["Evaluated checkpoint", `step ${formatCount(evaluation.step)}, ${evaluation.trained.weights} weights`]] : []),
    ...(steps.length > 0 ? [["Steps trained", formatCount((steps.at(-1)?.step ?? 0) + 1)]] : []),
    ["Seed", String(config.seed)],
    ["Configuration (sha256 of config.yaml)", `\`${configDigest}\``],
    ["What it gives", "logits; their softmax is a class probability, their negative logsumexp the energy E(x)"],
  ];
}

function dataRows({ config, evaluation, analysis }: RunRecord): string[][] {
  const data = evaluation?.data ?? analysis?.data;
  if (!data) return [["Data set", text(config.data.path)]];
  return [
    ["Data set", text(data.name)],
    ["Digest (sha256 of its manifest)", `\`${data.digest}\``],
    ["Classes", text(data.classes.join(", "))],
    ["Test samples", formatCount(data.numTest)],
    ...(analysis ? [["Training samples", formatCount(analysis.data.numTrain)]] : []),
  ];
}

function figureRows(record: RunRecord): string[][] {
  const { evaluation, analysis } = record;
  const rows: string[][] = [];
  if (evaluation) {
    const doc = docOf(record, "evaluation.json");
    const { trained, robustness, settings } = evaluation;
    rows.push(accuracy(doc, "/trained/clean", "Accuracy", "all test samples as they are"));
    for (const [i, attack] of trained.attacks.entries()) {
      const { start, restarts, stepSize } = attack;
      const how = `${formatAttack(attack)} in pixels of [0,1]; steps of ${formatEps(stepSize)}, ${start} start, ${restarts} ${restarts === 1 ? "run" : "runs"}`;
      rows.push(accuracy(doc, `/trained/attacks/${i}/accuracy`, "Accuracy under attack", how));
    }
    if (trained.worstCase) rows.push(accuracy(doc, "/trained/worstCase", "Accuracy under all of these attacks", "sample by sample"));
    if (robustness?.robust) {
      const budget = `${robustness.norm === "linf" ? "Linf" : "L2"} ${formatEps(robustness.eps)}`;
      const names = robustness.attacks.map(({ title }) => title).join("; ");
      rows.push(accuracy(doc, "/robustness/robust", `Accuracy under ${cascadeName(robustness)}`, `${budget}; ${names}`));
    }
    const certification = robustness?.certification;
    for (const [i, { radius }] of (certification?.curve ?? []).entries()) {
      const how = `L2 radius ${formatNumber(radius)}; randomised smoothing, noise ${formatNumber(certification?.sigma ?? 0)}, ${formatCount(certification?.estimate ?? 0)} draws, alpha ${certification?.alpha}`;
      rows.push(accuracy(doc, `/robustness/certification/curve/${i}/accuracy`, "Certified accuracy", how));
    }
    for (const other of ["adversarial", "generated"] as const) {
      const gap = trained.gaps[other];
      if (!gap) continue;
      const whose =
        other === "adversarial"
          ? "attacked test samples"
          : `${formatCount(settings.freshChains)} fresh chains of ${formatCount(settings.freshSteps)} steps`;
      const how = `${whose} against ${formatCount(gap.numClean)} clean test samples`;
      rows.push(figure(doc, `/trained/gaps/${other}/signedMean`, "Mean difference of energies", how, formatSigned));
      rows.push(figure(doc, `/trained/gaps/${other}/overlap/coefficient`, "Overlap of energies", how, formatPercent));
    }
  }
  if (analysis) {
    const doc = docOf(record, "analysis.json");
    const { before } = analysis.calibration;
    const calibration = `${formatCount(before.numSamples)} test samples, ${before.numBins} bins, without temperature`;
    rows.push(figure(doc, "/calibration/before/ece", "Expected calibration error", calibration, formatPercent));
    for (const [i, { set, energy }] of analysis.detection.entries()) {
      const how = `${formatCount(energy.numKnown)} clean test samples against ${formatCount(energy.numOther)} of ${set}; by energy`;
      rows.push(figure(doc, `/detection/${i}/energy/auroc`, "AUROC of telling them apart", how, (value) => value.toFixed(3)));
    }
    if (analysis.quality) {
      const { frechet, extractor, numGenerated, reference } = analysis.quality;
      const how = `${formatCount(numGenerated)} images against ${reference}; features of ${extractor.name}`;
      rows.push(figure(doc, "/quality/frechet/value", frechet.name, how, formatNumber));
    }
  }
  return rows;
}

function accuracy(doc: Doc, pointer: string, label: string, conditions: string): string[] {
  const at = (key: string): number => valueAt(doc.json, doc.at + pointer + key) as number;
  const value = `${formatPercent(at("/accuracy"))} (95 %: ${(100 * at("/interval/0")).toFixed(1)} to ${(100 * at("/interval/1")).toFixed(1)})`;
  return [label, value, text(`${conditions}; ${formatCount(at("/total"))} samples`), `\`${sourceOf(doc, `${pointer}/accuracy`)}\``];
}

function figure(doc: Doc, pointer: string, label: string, conditions: string, format: (value: number) => string): string[] {
  return [text(label), format(valueAt(doc.json, doc.at + pointer) as number), text(conditions), `\`${sourceOf(doc, pointer)}\``];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function owner(what: string): string {
  return `> **${TO_FILL_IN}**: ${what}.`;
}
