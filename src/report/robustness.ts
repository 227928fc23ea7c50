/** AutoAttack, the checklist against gradient masking, accuracy against the budget, and certified accuracy, of one run. */

import { formatCount, formatEps, formatNumber } from "../evaluate/format.js";
import type { RobustCheck, Robustness } from "../evaluate/robustness/robustness.js";
import type { Tone } from "./charts/frame.js";
import { intervalChart } from "./charts/interval-chart.js";
import { lineChart } from "./charts/line-chart.js";
import { cite, citeAccuracy, type Doc, inPercent, sourceOf } from "./cite.js";
import { type Html, html, NOTHING } from "./html.js";

const count = (value: number): string => formatCount(value);
const normName = (norm: "linf" | "l2"): string => (norm === "linf" ? "Linf" : "L2");

/** @param doc where the robustness stands */
export function robustnessBlock(robustness: Robustness, doc: Doc): Html {
  return html`${attackTable(robustness, doc)}
<div class="charts">${[budgetFigure(robustness, doc), certifiedFigure(robustness, doc), surfaceFigure(robustness, doc)]}</div>
${checklistTable(robustness, doc)}
${sensitivityLine(robustness, doc)}`;
}

/** "AutoAttack" is a name for one procedure only; anything else is called what it is. */
export function cascadeName({ standard }: Pick<Robustness, "standard">): string {
  return standard ? "AutoAttack, standard version" : "a part of AutoAttack";
}

function attackTable(robustness: Robustness, doc: Doc): Html {
  const { attacks, norm, eps, samples } = robustness;
  if (attacks.length === 0) return NOTHING;
  const rows = attacks.map(
    (
      { title },
      i,
    ) => html`<tr><th scope="row">${title}</th><td>${cite(doc, `/attacks/${i}/attacked`, count)}</td><td>${cite(doc, `/attacks/${i}/fooled`, count)}</td><td>${citeAccuracy(doc, `/attacks/${i}/accuracy`)}</td></tr>
`,
  );
  const last = robustness.robust
    ? html`<tr class="total"><th scope="row">Right under all of them</th><td></td><td></td><td>${citeAccuracy(doc, "/robust")}</td></tr>`
    : NOTHING;
  return html`<div class="scroll" role="group" tabindex="0" aria-label="Attacks of ${doc.run}"><table class="figures"><caption>${robustness.standard ? "AutoAttack, standard version" : "Attacks (a part of AutoAttack, or with less effort: not comparable with published AutoAttack figures)"}; ${normName(norm)}, budget ${formatEps(eps)} in pixels of [0,1]; test samples 0 to ${formatCount(samples - 1)}; fp32</caption>
<thead><tr><th scope="col">Attack, one after the other</th><th scope="col">samples still standing</th><th scope="col">of these fooled</th><th scope="col">accuracy after it, 95 % interval</th></tr></thead>
<tbody><tr><th scope="row">None</th><td></td><td></td><td>${citeAccuracy(doc, "/clean")}</td></tr>
${rows}${last}</tbody></table></div>`;
}

function budgetFigure(robustness: Robustness, doc: Doc): Html {
  const { curve, checklist, eps } = robustness;
  if (curve.length === 0 || !checklist) return NOTHING;
  const chart = budgetChart([{ name: doc.run, tone: "adversarial", robustness }], sourceOf(doc, "/curve"));
  if (!chart) return NOTHING;
  const end = curve.length - 1;
  return html`<figure><h3>Accuracy against the budget</h3>${chart}<figcaption>Each point is an attack of its own on the ${cite(doc, "/checklist/numCorrect", count)} samples that are right without attack; bars are 95 % intervals. The evaluation's budget is ${formatEps(eps)}. The curve must fall to chance or below: at the largest budget ${cite(doc, `/curve/${end}/accuracy/accuracy`, inPercent)} % are right. A model that stays right under any budget is not robust but badly attacked.</figcaption></figure>`;
}

export interface NamedRobustness {
  readonly name: string;
  readonly tone: Tone;
  readonly robustness: Robustness;
}

/** Budgets double from point to point, so the axis is logarithmic; the left end is no attack at all. Runs of one norm only. */
export function budgetChart(runs: readonly NamedRobustness[], source?: string): Html | undefined {
  const budgets = [...new Set(runs.flatMap(({ robustness }) => robustness.curve.map(({ eps }) => eps)))].sort((a, b) => a - b);
  const [smallest] = budgets;
  const norm = runs[0]?.robustness.norm;
  if (smallest === undefined || norm === undefined) return undefined;
  const place = (budget: number): number => 1 + Math.log2(budget / smallest);
  const inUnits = ({ accuracy, interval }: Robustness["clean"]) => ({
    y: 100 * accuracy,
    low: 100 * interval[0],
    high: 100 * interval[1],
  });
  return intervalChart({
    description: `Accuracy under APGD against the attack's budget: ${runs.map(({ name }) => name).join(", ")}`,
    ...(source !== undefined && { source }),
    x: {
      label: `budget, ${normName(norm)}, doubling from mark to mark`,
      from: -0.2,
      to: place(budgets.at(-1) as number) + 0.3,
      marks: [{ value: 0, text: "0" }, ...everySecond(budgets.map((eps) => ({ value: place(eps), text: shortEps(eps, norm) })))],
    },
    y: { label: "right, % of those right at 0", from: 0, to: 105 },
    series: runs.map(({ name, tone, robustness }) => ({
      name,
      tone,
      points: [
        { x: 0, y: 100, low: 100, high: 100 },
        ...robustness.curve.map(({ eps, accuracy }) => ({ x: place(eps), ...inUnits(accuracy) })),
      ],
    })),
  });
}

function everySecond<T>(marks: readonly T[]): readonly T[] {
  return marks.length <= 7 ? marks : marks.filter((_, i) => i % 2 === 0);
}

function shortEps(eps: number, norm: "linf" | "l2"): string {
  return norm === "linf" && eps < 1 ? `${Number((eps * 255).toFixed(1))}/255` : String(Number(eps.toPrecision(3)));
}

function certifiedFigure(robustness: Robustness, doc: Doc): Html {
  const { certification } = robustness;
  if (!certification) return NOTHING;
  const { sigma, estimate, alpha, total, radiusCap } = certification;
  const chart = certifiedChart([{ name: doc.run, tone: "generated", robustness }], sourceOf(doc, "/certification/curve"));
  if (!chart) return NOTHING;
  return html`<figure><h3>Certified accuracy</h3>${chart}<figcaption>Share of ${formatCount(total)} samples on which the smoothed model (noise of standard deviation ${formatNumber(sigma)}, ${formatCount(estimate)} draws) is right and no change within the radius can alter its answer; each certificate is wrong with a probability of at most ${alpha}. It abstained on ${cite(doc, "/certification/abstained", count)}; plain predictions of the smoothed model are right on ${cite(doc, "/certification/predicted/accuracy", inPercent)} %. With so many draws no radius above ${formatNumber(radiusCap)} can be certified. A guarantee, unlike the figures under attack.</figcaption></figure>`;
}

export function certifiedChart(runs: readonly NamedRobustness[], source?: string): Html | undefined {
  const curves = runs.flatMap(({ name, tone, robustness: { certification } }) =>
    certification ? [{ name, tone, curve: certification.curve }] : [],
  );
  const radii = curves.flatMap(({ curve }) => curve.map(({ radius }) => radius));
  if (radii.length === 0) return undefined;
  return intervalChart({
    description: `Certified accuracy against the radius, by randomised smoothing: ${curves.map(({ name }) => name).join(", ")}`,
    ...(source !== undefined && { source }),
    x: { label: "L2 radius in pixels of [0,1]", from: 0, to: Math.max(...radii) * 1.02 },
    y: { label: "right and certified, %", from: 0, to: 105 },
    series: curves.map(({ name, tone, curve }) => ({
      name,
      tone,
      points: curve.map(({ radius, accuracy: { accuracy, interval } }) => ({
        x: radius,
        y: 100 * accuracy,
        low: 100 * interval[0],
        high: 100 * interval[1],
      })),
    })),
  });
}

/** The middle line of each loss surface: along the gradient, through the sample as it is. */
function surfaceFigure({ surfaces, norm, eps }: Robustness, doc: Doc): Html {
  const chart = lineChart({
    description: `Loss along the input gradient of ${surfaces.length} samples, ${doc.run}`,
    source: sourceOf(doc, "/surfaces"),
    xLabel: `along the gradient, in budgets of ${normName(norm)} ${formatEps(eps)}`,
    yLabel: "cross-entropy",
    includeZero: true,
    series: surfaces.slice(0, SURFACE_TONES.length).map(({ id, side, loss }, i) => ({
      name: `sample ${id}`,
      tone: SURFACE_TONES[i] as Tone,
      points: Array.from({ length: side }, (_, a): [number, number] => [
        (2 * a) / (side - 1) - 1,
        loss[a * side + Math.floor(side / 2)] ?? Number.NaN,
      ]),
    })),
  });
  if (!chart) return NOTHING;
  return html`<figure><h3>Loss around samples</h3>${chart}<figcaption>0 is the sample as it is; an attack goes to the right. A smooth line that rises says that gradients lead attacks where they want to go. A flat or jagged one is a sign of gradient masking.</figcaption></figure>`;
}

const SURFACE_TONES: readonly Tone[] = ["clean", "adversarial", "generated", "buffer"];

const MARKS: Readonly<Record<RobustCheck["verdict"], string>> = {
  pass: "pass",
  suspicious: "suspicious",
  "not applicable": "not applicable",
};

function checklistTable({ checklist }: Robustness, doc: Doc): Html {
  if (!checklist) return NOTHING;
  const suspicious = checklist.checks.filter(({ verdict }) => verdict === "suspicious");
  const verdict =
    suspicious.length === 0
      ? "No sign of gradient masking was found. That is no proof that there is none."
      : `${suspicious.length} ${suspicious.length === 1 ? "check is" : "checks are"} suspicious: the figures under attack must not be relied upon until somebody has found out why.`;
  return html`<h3>Can the figures under attack be relied upon?</h3><p>${verdict}</p>
<div class="scroll" role="group" tabindex="0" aria-label="Checklist of ${doc.run}"><table class="checks"><caption>Checklist against gradient masking, on ${formatCount(checklist.numCorrect)} samples</caption><thead><tr><th scope="col">What should hold</th><th scope="col">Verdict</th><th scope="col">Figures</th></tr></thead>
<tbody>${checklist.checks.map(
    (
      { title, verdict: mark, figures },
      i,
    ) => html`<tr data-run="${doc.run}" data-source="${sourceOf(doc, `/checklist/checks/${i}`)}"><th scope="row">${title}</th><td><span class="mark ${mark === "pass" ? "good" : mark === "suspicious" ? "weak" : "note"}">${MARKS[mark]}</span></td><td>${figures}</td></tr>
`,
  )}</tbody></table></div>`;
}

function sensitivityLine({ sensitivity }: Robustness, doc: Doc): Html {
  if (!sensitivity) return NOTHING;
  const at = (pointer: string): Html => cite(doc, `/sensitivity/${pointer}`, formatNumber);
  return html`<p class="note">Within the budget an attack of ${sensitivity.steps} steps moved the logits by ${at("logits/median")} (median; at most ${at("logits/max")}) and the energy by ${at("energy/median")} (at most ${at("energy/max")}), on ${cite(doc, "/sensitivity/total", count)} samples. The local Lipschitz quotient reached ${at("lipschitz/max")}. These are lower bounds: a better attack may find more.</p>`;
}
