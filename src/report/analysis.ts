/** What `isoerg analyze` found out, as pictures and tables: the verdict, energies of every set, detection, calibration, samples. */

import type { Analysis, AnalysisSet, SetKind } from "../evaluate/analysis/analysis.js";
import { formatCount, formatNumber, formatPercent, formatSigned } from "../evaluate/format.js";
import type { Tone } from "./charts/frame.js";
import { histogramChart } from "./charts/histogram-chart.js";
import { reliabilityChart } from "./charts/reliability-chart.js";
import { cite, type Doc, inPercent, sourceOf } from "./cite.js";
import { type Html, html, NOTHING } from "./html.js";

const count = (value: number): string => formatCount(value);

const TONES: Readonly<Record<SetKind, Tone>> = {
  clean: "clean",
  train: "second",
  adversarial: "adversarial",
  generated: "generated",
  buffer: "buffer",
  noise: "second",
  interpolation: "second",
  "other-data": "second",
};

/** Grades and sentences as the analysis wrote them. */
export function verdictBlock({ verdict }: Analysis, doc: Doc): Html {
  return html`<ul class="verdict">${verdict.map(
    (
      { topic, grade, text },
      i,
    ) => html`<li data-run="${doc.run}" data-source="${sourceOf(doc, `/verdict/${i}`)}"><span class="mark ${grade}">${grade}</span> <b>${topic}</b>: ${text}</li>
`,
  )}</ul>`;
}

/** Each set's E(x) against that of clean test samples; E(x,y) behind a click. */
export function setsBlock({ sets }: Analysis, doc: Doc): Html {
  const cleanIndex = sets.findIndex(({ kind }) => kind === "clean");
  const clean = sets[cleanIndex];
  if (!clean) return NOTHING;
  const figures = (energy: "marginal" | "joint"): Html[] =>
    sets.flatMap((set, i) => (set === clean ? [] : [setFigure(clean, set, energy, { doc, cleanIndex, index: i })]));
  return html`<div class="charts">${figures("marginal")}</div>
<details><summary>Joint energies E(x,y)</summary><div class="charts">${figures("joint")}</div></details>`;
}

function setFigure(
  clean: AnalysisSet,
  set: AnalysisSet,
  energy: "marginal" | "joint",
  { doc, index }: { doc: Doc; cleanIndex: number; index: number },
): Html {
  const symbol = energy === "marginal" ? "E(x)" : "E(x,y)";
  const drawn = histogramChart({
    description: `${symbol} of clean test samples and of ${set.name}, ${doc.run}`,
    source: sourceOf(doc, `/sets/${index}/${energy}/energies`),
    xLabel: `${symbol}, lower is likelier to the model`,
    distributions: [
      { name: "clean test samples", tone: "clean", values: clean[energy].energies },
      { name: set.name, tone: TONES[set.kind], values: set[energy].energies },
    ],
  });
  if (!drawn) return NOTHING;
  const gap = `/sets/${index}/${energy}/gap`;
  const said = set[energy].gap
    ? html` Mean difference ${cite(doc, `${gap}/signedMean`, formatSigned)}, ${set[energy].gap.wassersteinOverStd === null ? NOTHING : html`${cite(doc, `${gap}/wassersteinOverStd`, formatNumber)} standard deviations apart, `}${cite(doc, `${gap}/overlap/coefficient`, inPercent)} % of the area shared.`
    : NOTHING;
  const labels = energy === "joint" ? ` y is the ${set.labels === "true" ? "true class" : "model's decision"}.` : "";
  return html`<figure><h3>Clean test samples and ${set.name}</h3>${drawn.chart}<figcaption>${sentence(set.description)}${said}${labels}</figcaption></figure>`;
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

export function detectionBlock({ detection }: Analysis, doc: Doc): Html {
  if (detection.length === 0) return NOTHING;
  const scores = ["energy", "maxProbability", ...(detection.some(({ inputGradient }) => inputGradient) ? ["inputGradient"] : [])] as const;
  const heads: Readonly<Record<string, string>> = { energy: "energy", maxProbability: "confidence", inputGradient: "input gradient" };
  const three = (i: number, score: string): Html[] =>
    ["auroc", "auprOther", "fpr95"].map((key) => html`<td>${cite(doc, `/detection/${i}/${score}/${key}`, (v) => v.toFixed(3))}</td>`);
  return html`<div class="scroll" role="group" tabindex="0" aria-label="Detection of unknown images, ${doc.run}"><table class="figures"><caption>Telling clean test samples from other images by three scores</caption>
<thead><tr><th scope="col">Images</th>${scores.flatMap((score) => ["AUROC", "AUPR", "FPR95"].map((key) => html`<th scope="col">${key}<small>${heads[score] as string}</small></th>`))}</tr></thead>
<tbody>${detection.map(
    (
      row,
      i,
    ) => html`<tr><th scope="row">${row.set}<small>${cite(doc, `/detection/${i}/energy/numOther`, count)} against ${cite(doc, `/detection/${i}/energy/numKnown`, count)} clean</small></th>${scores.flatMap((score) => (row[score as "energy" | "inputGradient"] ? three(i, score) : [1, 2, 3].map(() => html`<td class="none">not measured</td>`)))}</tr>
`,
  )}</tbody></table></div>
<p class="note">AUROC 0.5 is guessing, 1 is perfect; below 0.5 the model takes such images for more typical than its own data. AUPR is with the other images as what is sought. FPR95: the share of the other images let through where 95 % of clean ones pass.</p>`;
}

export function calibrationBlock({ calibration }: Analysis, doc: Doc): Html {
  const { before, after } = calibration;
  const figure = (which: "before" | "after", title: string): Html => {
    const at = `/calibration/${which}`;
    const chart = reliabilityChart(`${title}, ${doc.run}`, sourceOf(doc, `${at}/bins`), (which === "before" ? before : after).bins);
    if (!chart) return NOTHING;
    return html`<figure><h3>${title}</h3>${chart}<figcaption>On average ${cite(doc, `${at}/meanConfidence`, inPercent)} % sure and ${cite(doc, `${at}/accuracy`, inPercent)} % right. Expected calibration error ${cite(doc, `${at}/ece`, inPercent)} % (${cite(doc, `${at}/numBins`, count)} bins, ${cite(doc, `${at}/numSamples`, count)} samples), largest ${cite(doc, `${at}/mce`, inPercent)} %. Bars below the line: surer than right.</figcaption></figure>`;
  };
  return html`<div class="charts">${[figure("before", "As the model is"), figure("after", `With a temperature: logits divided by ${Number(calibration.temperature.toPrecision(3))}`)]}</div>
<p class="note">The temperature was fitted on ${cite(doc, "/calibration/numFit", count)} other test samples than those judged here.</p>`;
}

export function qualityBlock({ quality }: Analysis, doc: Doc): Html {
  if (!quality) return NOTHING;
  const { frechet, score, extractor, images } = quality;
  const row = (label: string, note: string, value: Html): Html =>
    html`<tr><th scope="row">${label}<small>${note}</small></th><td>${value}</td></tr>
`;
  const at = (pointer: string, format: (v: number) => string = formatNumber): Html => cite(doc, `/quality${pointer}`, format);
  return html`<div class="scroll" role="group" tabindex="0" aria-label="Quality of generated images, ${doc.run}"><table class="figures"><caption>${formatCount(quality.numGenerated)} images from ${images}${quality.chainSteps === null ? "" : ` of ${formatCount(quality.chainSteps)} steps`}, against ${quality.reference}; features of ${extractor.name}${extractor.self ? " (the judged model itself, which flatters it)" : ""}</caption>
<thead><tr><th scope="col">Figure</th><th scope="col">Value</th></tr></thead><tbody>
${row(frechet.name, `lower is better; between two sets of ${formatCount(frechet.numFloor)} real images it is ${formatNumber(frechet.floor)}`, at("/frechet/value"))}${row(score.name, `higher is better; of real images ${formatNumber(score.ofReference)}`, html`${at("/score/mean")} ± ${at("/score/std")}`)}${row("Precision", "share of generated images that look real in these features", at("/precisionRecall/precision", formatPercent))}${row("Recall", "share of real images that are covered", at("/precisionRecall/recall", formatPercent))}${quality.nearest.map(
  ({ space }, i) =>
    row(
      `Nearer to training data than 99 % of test images, in ${space}`,
      "about 1 % where nothing is copied",
      at(`/nearest/${i}/nearerThanTest`, formatPercent),
    ),
)}</tbody></table></div>`;
}
