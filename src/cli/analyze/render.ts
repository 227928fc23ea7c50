/** An analysis as text for the terminal: the verdict first, then the figures that it rests on, then histograms over each other. */
import type { Analysis, Finding } from "../../evaluate/analysis/analysis.js";
import { formatAccuracy, formatCount, formatNumber, formatPercent, formatSigned } from "../../evaluate/format.js";
import { textTable } from "../text-table.js";

const WIDTH = 110;
const MARKS: Readonly<Record<Finding["grade"], string>> = { good: "good", fair: "fair", weak: "WEAK", note: "note" };

export function renderAnalysis(analysis: Analysis): string {
  const { model, data, engine } = analysis;
  const what = {
    run: `step ${model.step}, ${model.weights} weights`,
    safetensors: "exported weights",
    "layers-model": "TensorFlow.js layers model",
    "graph-model": "TensorFlow.js graph model",
  }[model.kind];
  const softmax = model.logits === "before-softmax" ? "; logits are those before its softmax" : "";
  return [
    `${model.name}: ${what}, ${formatCount(model.numParameters)} parameters${softmax}\n`,
    `data ${data.name}, engine ${engine.name} (${engine.version}) on ${engine.device}\n\n`,
    renderVerdict(analysis.verdict),
    "\nEnergies E(x) = -logsumexp f(x), and their distance to the test samples\n",
    gapTable(analysis, "marginal"),
    "\nJoint energies E(x,y) = -f_y(x); y is the true class, or (*) the model's decision\n",
    gapTable(analysis, "joint"),
    "\n",
    histograms(analysis),
    "\nTelling test samples from others by a score: AUROC / AUPR of the test samples / FPR at 95 %\n",
    detectionTable(analysis),
    "\nCalibration\n",
    calibrationTable(analysis),
    analysis.quality ? `\n${qualityText(analysis.quality)}` : "",
  ].join("");
}

export function renderVerdict(findings: readonly Finding[]): string {
  const topicWidth = Math.max(...findings.map(({ topic }) => topic.length));
  const indent = topicWidth + 8;
  return findings
    .map(({ topic, grade, text }) => `${MARKS[grade]}  ${topic.padEnd(topicWidth)}  ${wrapped(text, WIDTH - indent, indent)}\n`)
    .join("");
}

function wrapped(text: string, width: number, indent: number): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].join(`\n${" ".repeat(indent)}`);
}

function gapTable({ sets }: Analysis, energy: "marginal" | "joint"): string {
  const rows = sets.map((set) => {
    const { mean, std, gap } = set[energy];
    const mark = energy === "joint" && set.labels === "predicted" ? " *" : "";
    return [
      `${set.name}${mark}`,
      formatCount(set.numSamples),
      set.accuracy && energy === "marginal" ? formatAccuracy(set.accuracy) : "",
      formatNumber(mean),
      formatNumber(std),
      gap ? formatSigned(gap.signedMean) : "",
      gap && gap.meanAbsolute !== null ? formatNumber(gap.meanAbsolute) : "",
      gap ? formatNumber(gap.wasserstein) : "",
      gap && gap.wassersteinOverStd !== null ? formatNumber(gap.wassersteinOverStd) : "",
      gap ? formatPercent(gap.overlap.coefficient) : "",
    ];
  });
  const head = ["", "samples", energy === "marginal" ? "accuracy" : "", "mean", "std", "shift", "|pairs|", "W1", "W1/std", "overlap"];
  const drop = energy === "joint" ? 2 : -1;
  return textTable([head, ...rows].map((row) => row.filter((_, column) => column !== drop)));
}

const BARS = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/** Each scaled to its own highest bar. */
function histograms({ sets }: Analysis): string {
  const width = Math.max(...sets.map(({ name }) => name.length));
  const lines = sets.map(({ name, marginal }) => {
    const { counts, below, above } = marginal.histogram;
    const highest = Math.max(1, ...counts);
    const bars = counts.map((n) => BARS[n === 0 ? 0 : Math.max(1, Math.round((n / highest) * (BARS.length - 1)))]).join("");
    return `${name.padEnd(width)}  ${bars}${below + above > 0 ? `  ${below + above} outside` : ""}\n`;
  });
  const bins = sets[0]?.marginal.histogram;
  if (!bins) return "";
  const from = formatNumber(bins.from);
  return `${lines.join("")}${" ".repeat(width + 2)}${from}${formatNumber(bins.to).padStart(bins.numBins - from.length)}\n`;
}

function detectionTable({ detection }: Analysis): string {
  const cell = (found: Analysis["detection"][number]["energy"] | null): string =>
    found ? `${found.auroc.toFixed(3)} / ${found.auprKnown.toFixed(3)} / ${formatPercent(found.fpr95)}` : "-";
  return textTable([
    ["", "energy", "largest probability", "input gradient"],
    ...detection.map((row) => [row.set, cell(row.energy), cell(row.maxProbability), cell(row.inputGradient)]),
  ]);
}

function calibrationTable({ calibration: { before, after, temperature, numFit } }: Analysis): string {
  const row = (label: string, c: typeof before): string[] => [
    label,
    formatPercent(c.ece),
    formatPercent(c.mce),
    c.nll.toFixed(3),
    c.brier.toFixed(3),
  ];
  return `${textTable([
    ["", `ECE (${before.numBins} bins)`, "largest bin", "NLL", "Brier"],
    row("as it is", before),
    row(`temperature ${formatNumber(temperature)}`, after),
  ])}fitted on ${formatCount(numFit)} test samples, judged on ${formatCount(before.numSamples)} others\n`;
}

function qualityText(quality: NonNullable<Analysis["quality"]>): string {
  const { extractor, frechet, score, precisionRecall: pr, nearest } = quality;
  const steps = quality.chainSteps === null ? "" : ` of ${quality.chainSteps} steps`;
  return [
    `Samples: ${formatCount(quality.numGenerated)} ${quality.images}${steps}, unfiltered, against ${formatCount(quality.numReference)} of the ${quality.reference}; features of ${extractor.name} (${extractor.numFeatures})\n`,
    noted([
      [frechet.name, formatNumber(frechet.value), `real against real ${formatNumber(frechet.floor)}, ${frechet.numFloor} each`],
      [
        score.name,
        `${formatNumber(score.mean)} ± ${formatNumber(score.std)}`,
        `real ${formatNumber(score.ofReference)}, ${score.numSplits} splits`,
      ],
      ["precision", formatPercent(pr.precision), `samples inside the ${pr.neighbours}-neighbour manifold of real images`],
      ["recall", formatPercent(pr.recall), "real images inside that of the samples"],
      ...nearest.map(
        ({ space, generatedMedian, testMedian, nearerThanTest, numTrain }): Noted => [
          `nearest training image, ${space}`,
          formatNumber(generatedMedian),
          `test images ${formatNumber(testMedian)}; ${formatPercent(nearerThanTest)} suspiciously near; of ${formatCount(numTrain)}`,
        ],
      ),
    ]),
  ].join("");
}

type Noted = readonly [label: string, value: string, note: string];

/** A label, a figure to the right, a note to the left. */
function noted(rows: readonly Noted[]): string {
  const [labels, values] = [0, 1].map((column) => Math.max(...rows.map((row) => (row[column] as string).length))) as [number, number];
  return rows.map(([label, value, note]) => `${label.padEnd(labels)}   ${value.padStart(values)}   ${note}\n`).join("");
}
