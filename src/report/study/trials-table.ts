/** All trials in the order of their worth, and the settings of the best. */
import { formatCount } from "../../evaluate/format.js";
import { type Domain, type Space, unitOf } from "../../sweep/space.js";
import type { SweepSpec } from "../../sweep/spec.js";
import type { TrialSummary } from "../../sweep/summary.js";
import { type Html, html, NOTHING } from "../html.js";
import { describeDomain, formatSetting } from "./axes.js";
import { failureWord } from "./look.js";
import { formatMetric, METRIC_NAMES, METRICS } from "./metric.js";

const SHOWN = 20;
/** This near to an end of its range, a best value asks for a wider one. */
const EDGE = 0.05;

export function trialsTable(trials: readonly TrialSummary[], space: Space, spec: SweepSpec): Html {
  const first = table(trials.slice(0, SHOWN), 1, space, spec, "Trials");
  if (trials.length <= SHOWN) return first;
  return html`${first}
<details><summary>${formatCount(trials.length - SHOWN)} more trials</summary>${table(trials.slice(SHOWN), SHOWN + 1, space, spec, "More trials")}</details>`;
}

function table(trials: readonly TrialSummary[], from: number, space: Space, spec: SweepSpec, label: string): Html {
  const { title } = METRICS[spec.metric.name];
  const others = METRIC_NAMES.filter((name) => name !== spec.metric.name && trials.some(({ measured }) => measured[name] !== undefined));
  return html`<div class="scroll" role="group" tabindex="0" aria-label="${label}"><table class="trials"><caption class="hidden">${label} with their settings and results</caption>
<thead><tr><th scope="col">Place</th><th scope="col">${title}</th>${others.map((name) => html`<th scope="col">${METRICS[name].title}</th>`)}<th scope="col">Epochs</th>${space.map(({ path }) => html`<th scope="col">${breakable(path)}</th>`)}<th scope="col">Trial</th></tr></thead>
<tbody>${trials.map(
    (
      trial,
      i,
    ) => html`<tr><td>${trial.metric === null ? "-" : from + i}</td><td>${resultOf(trial, spec)}</td>${others.map((name) => html`<td>${trial.measured[name] === undefined ? "-" : formatMetric(trial.measured[name], { name })}</td>`)}<td>${formatSetting(trial.epochs)}</td>${space.map(({ path }) => html`<td>${formatSetting(trial.point[path])}</td>`)}<td>${trial.trial}</td></tr>
`,
  )}</tbody></table></div>`;
}

function resultOf({ metric, interval, bySeed, failure, how }: TrialSummary, spec: SweepSpec): Html {
  if (metric === null)
    return html`<span class="mark weak">${failureWord({ reason: failure ?? "", how })}</span><small>${failure ?? ""}</small>`;
  const figure = html`<b>${formatMetric(metric, spec.metric)}</b>`;
  if (bySeed.length < 2) return figure;
  const bounds = [metric - interval, metric + interval].map((value) => formatMetric(value, spec.metric).replace(/ %$/, ""));
  return html`${figure}<small>${bounds.join(" to ")}</small>`;
}

/** Dotted paths break after a dot where there is no room. */
function breakable(path: string): Html {
  return html`${path.split(".").map((part, i) => (i === 0 ? html`${part}` : html`.<wbr>${part}`))}`;
}

export function bestTable(best: TrialSummary, space: Space): Html {
  const units = unitOf(space, best.point);
  const rows = space.map(({ path, domain }, axis) => ({ path, domain, end: endOf(domain, units[axis] as number) }));
  const edges = rows.filter(({ end }) => end !== null);
  return html`<div class="scroll" role="group" tabindex="0" aria-label="Settings of the best trial"><table class="trials"><caption class="hidden">Settings of the best trial</caption>
<thead><tr><th scope="col">Setting</th><th scope="col">Best</th><th scope="col">Searched</th></tr></thead>
<tbody>${rows.map(
    ({
      path,
      domain,
      end,
    }) => html`<tr><th scope="row">${breakable(path)}</th><td><b>${formatSetting(best.point[path])}</b></td><td>${describeDomain(domain)}${end === null ? NOTHING : html`<small>at the ${end} end</small>`}</td></tr>
`,
  )}</tbody></table></div>
${edges.length === 0 ? NOTHING : html`<p>${edges.map(({ path }) => path).join(" and ")} ${edges.length === 1 ? "lies" : "lie"} at an end of what was searched: better values may lie beyond.</p>`}`;
}

function endOf(domain: Domain, u: number): "lower" | "upper" | null {
  if (domain.kind === "choice") return null;
  const near = domain.kind === "int" ? 1 / (domain.high - domain.low + 1) : EDGE;
  return u <= near ? "lower" : u >= 1 - near ? "upper" : null;
}
