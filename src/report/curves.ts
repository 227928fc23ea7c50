/** The curves of a training, from its metrics: which figures share a picture, and what a reader should see in each. */
import { formatCount, formatNumber, formatPercent, formatSigned } from "../evaluate/format.js";
import type { Tone } from "./charts/frame.js";
import { lineChart, type Series, thin } from "./charts/line-chart.js";
import { type Html, html, NOTHING } from "./html.js";
import type { StepMetrics } from "./run-record.js";
import { spreadFigure } from "./spread.js";

const MAX_POINTS = 160;
/** The spread of energies belongs beside their gaps. */
const BEFORE_SPREAD = "Energy gaps to clean samples";
const PAIRED = "adversarial, paired |difference|";

interface Curve {
  readonly title: string;
  readonly yLabel: string;
  readonly includeZero?: boolean;
  readonly lines: readonly { readonly name: string; readonly tone: Tone; readonly value: (step: StepMetrics) => number | undefined }[];
  /** What to see, given the mean of each line over the last tenth of the training. */
  readonly caption: (last: (name: string) => number | undefined) => string;
}

const metric = (name: string) => (step: StepMetrics) => step.metrics[name];
const said = (value: number | undefined, format: (value: number) => string, text: (value: string) => string): string =>
  value === undefined ? "" : text(format(value));

const CURVES: readonly Curve[] = [
  {
    title: "Loss",
    yLabel: "loss",
    lines: [{ name: "loss", tone: "plain", value: metric("loss") }],
    caption: () =>
      "What training minimises. It should fall and settle. With generative terms it may pass below zero; a sudden jump is a sign of instability.",
  },
  {
    title: "Accuracy on training batches",
    yLabel: "share right, %",
    includeZero: true,
    lines: [
      { name: "clean", tone: "clean", value: (step) => percent(step.metrics["accuracy/clean"]) },
      { name: "under attack", tone: "adversarial", value: (step) => percent(step.metrics["accuracy/adversarial"]) },
    ],
    caption: (last) =>
      `Both should rise together.${said(
        last("clean"),
        (v) => formatPercent(v / 100),
        (v) => ` At the end ${v} of clean training samples are named right`,
      )}${said(
        last("under attack"),
        (v) => formatPercent(v / 100),
        (v) => `, ${v} under the training's own short attack`,
      )}. Figures on unseen samples stand in the table above.`,
  },
  {
    title: "Mean energies",
    yLabel: "E(x)",
    lines: [
      { name: "clean", tone: "clean", value: metric("energy/clean") },
      { name: "adversarial", tone: "adversarial", value: metric("energy/adversarial") },
      { name: "generated", tone: "generated", value: metric("energy/generated") },
    ],
    caption: () =>
      "How likely the model finds each kind of sample; lower is likelier. The lines should come to lie close together and stay there. Lines that run apart without end mean that training diverges.",
  },
  {
    title: BEFORE_SPREAD,
    yLabel: "E(other) - E(clean)",
    lines: [
      { name: PAIRED, tone: "adversarial", value: metric("gap/adversarial-absolute") },
      { name: "generated", tone: "generated", value: difference("energy/generated", "energy/clean") },
    ],
    caption: (last) =>
      [
        "Zero is full alignment.",
        said(last(PAIRED), formatNumber, (v) => `At the end an attack moves a sample's energy by ${v} on average.`),
        said(last("generated"), formatSigned, (v) => `The mean energy of chains less that of clean samples is ${v}.`),
      ]
        .filter((sentence) => sentence !== "")
        .join(" "),
  },
  {
    title: "Gradient norm",
    yLabel: "L2 norm",
    includeZero: true,
    lines: [{ name: "gradient norm", tone: "plain", value: metric("gradient-norm") }],
    caption: () =>
      "The size of each update's gradient before clipping. It should stay in one range; growth over the whole run is an early sign of divergence.",
  },
  {
    title: "Speed",
    yLabel: "samples each second",
    includeZero: true,
    lines: [
      { name: "samples each second", tone: "plain", value: (step) => (step.samplesPerSecond > 0 ? step.samplesPerSecond : undefined) },
    ],
    caption: (last) =>
      `Over all workers together.${said(
        last("samples each second"),
        (v) => formatCount(Math.round(v)),
        (v) => ` At the end ${v} samples each second`,
      )}. Dips are checkpoints, lost workers or a busy machine.`,
  },
];

/** The figures that a run has, as charts; a run without metrics says so. */
export function curvesSection(steps: readonly StepMetrics[]): Html {
  if (steps.length < 2) return html`<p class="missing">There are no metrics of this run yet, so there are no curves.</p>`;
  const perPoint = Math.ceil(steps.length / MAX_POINTS);
  const figures = CURVES.flatMap((curve) => [
    drawCurve(curve, steps),
    ...(curve.title === BEFORE_SPREAD ? [spreadFigure(steps)] : []),
  ]).filter((figure) => figure !== NOTHING);
  return html`<div class="charts">${figures}</div>
<p class="note">Each point is ${perPoint === 1 ? "one step" : `the mean of about ${perPoint} steps`}. ${formatCount(steps.length)} steps in all.</p>`;
}

function drawCurve(curve: Curve, steps: readonly StepMetrics[]): Html {
  const series = curve.lines.map(
    ({ name, tone, value }): Series => ({ name, tone, points: steps.map((step) => [step.step, value(step) ?? Number.NaN]) }),
  );
  const chart = lineChart({
    description: `${curve.title} by training step`,
    xLabel: "step",
    yLabel: curve.yLabel,
    series: series.map((one) => ({ ...one, points: thin(one.points, MAX_POINTS) })),
    ...(curve.includeZero && { includeZero: true }),
  });
  if (!chart) return NOTHING;
  const lastMean = (name: string): number | undefined => {
    const values = (series.find((one) => one.name === name)?.points ?? []).map(([, y]) => y).filter(Number.isFinite);
    const tail = values.slice(-Math.max(1, Math.ceil(values.length / 10)));
    return tail.length === 0 ? undefined : tail.reduce((sum, value) => sum + value, 0) / tail.length;
  };
  return html`<figure><h3>${curve.title}</h3>${chart}<figcaption>${curve.caption(lastMean)}</figcaption></figure>`;
}

function percent(share: number | undefined): number | undefined {
  return share === undefined ? undefined : 100 * share;
}

function difference(a: string, b: string): (step: StepMetrics) => number | undefined {
  return ({ metrics }) => {
    const [x, y] = [metrics[a], metrics[b]];
    return x === undefined || y === undefined ? undefined : x - y;
  };
}
