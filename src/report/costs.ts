/** What decisions are expected to cost with each model, in plain words: for whoever answers for a product and not for a network. */
import type { Costs } from "../evaluate/decision/costs.js";
import {
  type BreakEven,
  breakEven,
  type CostedModel,
  costAt,
  type ExpectedCost,
  expectedCost,
} from "../evaluate/decision/expected-cost.js";
import { formatCount, formatNumber, formatPercent } from "../evaluate/format.js";
import type { Tone } from "./charts/frame.js";
import { lineChart } from "./charts/line-chart.js";
import { cite, sourceOf } from "./cite.js";
import { RUN_TONES } from "./comparison.js";
import { type Html, html, NOTHING } from "./html.js";
import { cascadeName } from "./robustness.js";
import { docOf, type RunRecord } from "./run-record.js";
import { settingsTable } from "./settings-table.js";

/** A run whose decisions were counted, with and without attack, or undefined. */
export function costedModel({ name, evaluation }: RunRecord): CostedModel | undefined {
  const clean = evaluation?.trained.decisions;
  const attacks = evaluation?.trained.attacks ?? [];
  const counted = attacks.flatMap(({ name: attack, decisions }) => (decisions ? [{ name: attack, decisions }] : []));
  const isWhole = counted.length > 0 && counted.length === attacks.length;
  return evaluation && clean && isWhole ? { name, classes: evaluation.data.classes, clean, attacks: counted } : undefined;
}

/** @throws IsoergError CONFIG where the costs name classes that the data do not have */
export function costsSection(records: readonly RunRecord[], costs: Costs): Html {
  const models = records.flatMap((record) => {
    const model = costedModel(record);
    return model ? [{ record, model }] : [];
  });
  const without = records.filter((record) => !costedModel(record)).map(({ name }) => name);
  const found = models.map(({ model }, i) => expectedCost(model, costs, i));
  const [subject, ...others] = found;
  const missing =
    without.length === 0
      ? NOTHING
      : html`<p class="missing">The decisions of ${without.join(", ")} were not counted yet: <code>isoerg evaluate RUN</code> counts them.</p>`;
  if (!subject) return html`<section><h2>What it costs</h2>${missing}</section>`;
  const digests = new Set(models.map(({ record }) => record.evaluation?.data.digest));
  return html`<section><h2>What it costs</h2>
<p class="lead">${inWords(subject, costs)}</p>
${others.map(
  (other) => html`<p>${verdict(breakEven(subject, other), subject, other, costs)}</p>
`,
)}
${digests.size > 1 ? html`<p class="missing">These models were measured on different data: their costs must not be compared.</p>` : NOTHING}
${missing}
${costTable(
  found,
  models.map(({ record }) => record),
  costs,
)}
<div class="charts">${costFigure(found, costs)}</div>
<details><summary>How this was computed, and what it leaves out</summary><ul>
<li>Every decision on the test samples was given the cost that the costs file names for it; the mean over samples as they are and the mean over attacked samples are mixed by the attack rate. Intervals are where the true figure lies with 95 % confidence, by resampling the samples.</li>
<li>Classes are taken to be as frequent in use as in the test data, and images to be of the same kind.</li>
<li>Attacked means: under the dearest of the attacks that were measured, by someone who knows the model. A stronger attack costs more; a disturbance that nobody aims costs less.</li>
${found.map((cost, i) => strongerItem(cost, models[i]?.record))}${found.map(unseenItem)}
</ul>${settingsTable(costs, "The costs")}</details></section>`;
}

function inWords({ name, perThousand, interval, attacked }: ExpectedCost, costs: Costs): string {
  return `With ${name}, 1,000 decisions are expected to cost ${amount(perThousand, costs)} (${plain(interval[0])} to ${plain(interval[1])}) when ${formatPercent(costs.attackRate)} of the inputs are attacked (${attacked.attack}).`;
}

function verdict({ rate, interval, below, above, share }: BreakEven, a: ExpectedCost, b: ExpectedCost, costs: Costs): string {
  const cheaper = a.perThousand <= b.perThousand ? a : b;
  const dearer = cheaper === a ? b : a;
  const overlap = cheaper.interval[1] >= dearer.interval[0];
  const now = `At the stated attack rate ${cheaper.name} is expected to be cheaper than ${dearer.name}, by ${amount(dearer.perThousand - cheaper.perThousand, costs)} in 1,000 decisions${overlap ? "; the intervals overlap, so this is not settled by these samples" : ""}.`;
  if (rate === null)
    return `${now} ${below} is cheaper at every attack rate${share > 0.025 ? `, though ${formatPercent(share)} of the resamples have a break-even` : ""}.`;
  const between = interval
    ? ` (${formatRate(interval[0])} to ${formatRate(interval[1])}${share < 0.975 ? `, in the ${formatPercent(share)} of the resamples that have one` : ""})`
    : "";
  return `${now} They break even at an attack rate of ${formatRate(rate)}${between}: below it ${below} is cheaper, above it ${above}.`;
}

function costTable(found: readonly ExpectedCost[], records: readonly RunRecord[], costs: Costs): Html {
  const cell = (value: number, [low, high]: readonly [number, number]): Html =>
    html`<b>${plain(value)}</b><small>${plain(low)} to ${plain(high)}</small>`;
  const thousand = ({ mean, interval }: ExpectedCost["clean"], compute: number): Html =>
    cell(1000 * mean + compute, [1000 * interval[0] + compute, 1000 * interval[1] + compute]);
  const rows = found.map((cost, i) => {
    const doc = docOf(records[i] as RunRecord, "evaluation.json");
    const clean = html` data-run="${cost.name}" data-source="${sourceOf(doc, "/trained/decisions")}"`;
    const attacked = html` data-run="${cost.name}" data-source="${sourceOf(doc, `/trained/attacks/${cost.attacked.index}/decisions`)}"`;
    return html`<tr><th scope="row">${cost.name}<small>${formatCount(cost.clean.numSamples)} samples, ${formatCount(cost.attacked.numSamples)} attacked by ${cost.attacked.attack}</small></th>
<td>${cell(cost.perThousand, cost.interval)}</td><td${clean}>${thousand(cost.clean, cost.compute)}</td><td${attacked}>${thousand(cost.attacked, cost.compute)}</td><td>${plain(cost.compute)}</td><td>${formatPercent(cost.clean.mistakes)}<small>${formatPercent(cost.attacked.mistakes)} attacked</small></td><td>${formatPercent(cost.clean.abstained)}<small>${formatPercent(cost.attacked.abstained)} attacked</small></td></tr>
`;
  });
  return html`<div class="scroll" role="group" tabindex="0" aria-label="Expected costs"><table class="figures"><caption>Expected cost of 1,000 decisions, in ${costs.currency}, computing included, with 95 % intervals</caption>
<thead><tr><th scope="col">Model</th><th scope="col">at ${formatRate(costs.attackRate)} attacked</th><th scope="col">none attacked</th><th scope="col">all attacked</th><th scope="col">computing alone</th><th scope="col">mistakes</th><th scope="col">left to a person</th></tr></thead>
<tbody>${rows}</tbody></table></div>`;
}

/** Costs against the attack rate: straight lines, drawn far enough to see the stated rate and every break-even. */
function costFigure(found: readonly ExpectedCost[], costs: Costs): Html {
  const [subject, ...others] = found;
  if (!subject) return NOTHING;
  const rates = others.map((other) => breakEven(subject, other).rate ?? 0);
  const to = Math.min(1, Math.max(0.02, 2 * costs.attackRate, ...rates.map((rate) => 1.6 * rate)));
  const chart = lineChart({
    description: `Expected cost of 1,000 decisions by attack rate: ${found.map(({ name }) => name).join(", ")}`,
    xLabel: "inputs attacked, %",
    yLabel: costs.currency,
    includeZero: true,
    series: found.slice(0, RUN_TONES.length).map((cost, i) => ({
      name: cost.name,
      tone: RUN_TONES[i] as Tone,
      points: [0, to].map((rate): [number, number] => [100 * rate, costAt(cost.clean.mean, cost.attacked.mean, cost.compute, rate)]),
    })),
  });
  if (!chart) return NOTHING;
  const caption =
    found.length > 1
      ? "Where two lines cross, both models cost the same: the break-even. To the left the one with the lower line is cheaper on inputs as they are, to the right the one that withstands attack better."
      : "The steeper the line, the more an attack costs.";
  return html`<figure><h3>Cost by attack rate</h3>${chart}<figcaption>${caption}</figcaption></figure>`;
}

/** The decisions under AutoAttack are not kept, only whether they were right: the cost of a model that it fools more is too low. */
function strongerItem({ name, attacked }: ExpectedCost, record: RunRecord | undefined): Html {
  const { robustness, trained } = record?.evaluation ?? {};
  const measured = trained?.attacks.find((attack) => attack.name === attacked.attack)?.accuracy.accuracy;
  const robust = robustness?.robust;
  if (!record || !robust || measured === undefined || robust.accuracy >= measured) return NOTHING;
  const doc = docOf(record, "evaluation.json");
  return html`<li>${name}: ${cascadeName(robustness)} leaves ${cite(doc, "/robustness/robust/accuracy", formatPercent)} right, ${attacked.attack} ${cite(doc, `/trained/attacks/${attacked.index}/accuracy/accuracy`, formatPercent)}: against such an attacker the cost is higher than it says here.</li>
`;
}

function unseenItem({ name, unseen }: ExpectedCost): Html {
  if (!unseen)
    return html`<li>${name}: every mistake that costs anything was seen at least once.</li>
`;
  const { truth, decided, cost, rate } = unseen;
  return html`<li>${name}: the dearest mistake that was never seen is ${truth} taken for ${decided} (${formatNumber(cost)} each). It counts as 0 here; with so few samples it may still happen to ${formatPercent(rate)} of that class (upper bound, 95 %).</li>
`;
}

function amount(value: number, { currency }: Costs): string {
  return `${plain(value)} ${currency}`;
}

function plain(value: number): string {
  return Math.abs(value) >= 1000 ? formatCount(Math.round(value)) : formatNumber(value);
}

/** A share in percent, with as many digits as small rates need. */
function formatRate(rate: number): string {
  return `${Number(formatNumber(100 * rate))} %`;
}
