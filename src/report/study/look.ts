/** How trials are drawn: by their fifth, the best one thicker, a failure crossed; and the legend of it. */

import { formatCount } from "../../evaluate/format.js";
import { quantile, sorted } from "../../util/quantile.js";
import { boundsOf } from "../charts/frame.js";
import { type Html, html, NOTHING } from "../html.js";
import { formatMetric, metricOf } from "./metric.js";
import type { Fifth, Standing, StandingTrial } from "./standing.js";
import type { StudyRecord } from "./study-record.js";

export function lookOf({ trial, fifth }: Pick<StandingTrial, "trial" | "fifth">, best: number | null): string {
  const look = fifth === null ? "unscored" : `fifth-${fifth}`;
  return trial === best ? `${look} best` : look;
}

export function failureWord({ how }: NonNullable<StandingTrial["failure"]>): string {
  return how ?? "failed";
}

/** The legend as a list: it wraps as the page does. */
export function trialKey({ trials }: Standing, { spec: { metric } }: Pick<StudyRecord, "spec">, best: number | null): Html {
  const rows = ([5, 4, 3, 2, 1] as const).flatMap((fifth: Fifth) => {
    const values = trials.filter((trial) => trial.fifth === fifth).map(({ score }) => metricOf(score as number, metric));
    if (values.length === 0) return [];
    const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => formatMetric(value, metric)) as [string, string];
    const name = fifth === 5 ? "best fifth, " : fifth === 1 ? "worst fifth, " : "";
    return [
      html`<li><span class="swatch fifth-${fifth}"></span>${name}${low === high ? low : `${low.replace(/ %$/, "")} to ${high}`}</li>`,
    ];
  });
  const failed = trials.filter(({ failure }) => failure !== null);
  const count = (how: string): string => {
    const number = failed.filter(({ failure }) => failure && failureWord(failure) === how).length;
    return number === 0 ? "" : `${formatCount(number)} ${how}`;
  };
  const said = ["diverged", "broke", "failed"].map(count).filter((text) => text !== "");
  const top = trials.find(({ trial }) => trial === best);
  return html`<ul class="key">${top === undefined ? NOTHING : html`<li><span class="swatch ${lookOf(top, best)}"></span>the best trial, ${top.trial}</li>`}${rows}${
    said.length === 0
      ? NOTHING
      : html`<li><span class="swatch unscored"></span>no value</li><li><span class="crossed" aria-hidden="true">×</span>${said.join(", ")}</li>`
  }</ul>`;
}

/** Bounds of an axis that one stray value can't stretch until nothing else is seen; what lies beyond is drawn at the edge. */
export function boundsOfTrials(values: readonly number[]): { readonly from: number; readonly to: number; readonly numOutside: number } {
  const finite = sorted(values.filter(Number.isFinite));
  if (finite.length === 0) return { from: 0, to: 1, numOutside: 0 };
  const [low, high] = [quantile(finite, 0.1), quantile(finite, 0.9)];
  const reach = 2.5 * (high - low);
  const kept = [...finite].filter((value) => reach === 0 || (value >= low - reach && value <= high + reach));
  return { ...boundsOf(kept), numOutside: finite.length - kept.length };
}
