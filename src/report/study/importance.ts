/** Which settings decide: shares with their ranges, what each value does, and how far any of it can be believed. */
import { formatCount, formatPercent } from "../../evaluate/format.js";
import { type Importance, importanceOf, type SettingImportance } from "../../sweep/importance/importance.js";
import { scoreOf } from "../../sweep/job.js";
import { bandChart } from "../charts/band-chart.js";
import { barChart } from "../charts/bar-chart.js";
import { boundsOf } from "../charts/frame.js";
import { intervalChart } from "../charts/interval-chart.js";
import { type Html, html, NOTHING } from "../html.js";
import { formatSetting, marksOf } from "./axes.js";
import { axisTitle, METRICS, metricOf, scaledMetric } from "./metric.js";
import { comparedAt } from "./standing.js";
import type { StudyRecord } from "./study-record.js";

const MAX_PAIRS = 2;
const MIN_PAIR = 0.03;
/** A setting with more values than these is drawn as a line. */
const MAX_DOTS = 12;

export interface ImportanceBlock {
  /** The bars, or why there are none. */
  readonly bars: Html;
  readonly effects: readonly Html[];
}

export function importanceBlock(record: StudyRecord): ImportanceBlock {
  const { spec, jobs, space } = record;
  const epochs = comparedAt(jobs, "least");
  const judged = jobs.flatMap(({ to, point, result }) =>
    to === epochs && result?.kind === "value" ? [{ point, value: metricOf(scoreOf(result), spec.metric) }] : [],
  );
  const answer = importanceOf(space, judged, { seed: BigInt(spec.seed) });
  if (answer.kind === "untold") {
    return {
      bars: html`<figure><h3>Which settings decide</h3><p>It can't be told yet: ${answer.reason}.</p></figure>`,
      effects: [],
    };
  }
  const what = `${METRICS[spec.metric.name].title} after ${formatSetting(epochs)} epochs`;
  return {
    bars: barsFigure(answer, what),
    effects: decisive(answer).flatMap((setting) => {
      const figure = effectFigure(setting, answer, record, epochs);
      return figure === NOTHING ? [] : [figure];
    }),
  };
}

/** The settings whose share chance does not explain, the largest first. */
function decisive({ settings }: Importance): SettingImportance[] {
  return settings.filter(({ share, chance }) => share > chance).sort((a, b) => b.share - a.share);
}

function barsFigure(answer: Importance, what: string): Html {
  const { settings, pairs } = answer;
  const percent = (share: number): string => (share < 0.005 ? "< 1 %" : `${Math.round(100 * share)} %`);
  const bars = [...settings]
    .sort((a, b) => b.share - a.share)
    .map(({ path, share, low, high, chance }) => ({
      name: path,
      value: 100 * share,
      low: 100 * low,
      high: 100 * high,
      mark: 100 * chance,
      look: share > chance ? ("full" as const) : ("faint" as const),
      text: percent(share),
    }));
  const together = pairs
    .filter(({ share }) => share >= MIN_PAIR)
    .slice(0, MAX_PAIRS)
    .map(({ paths, share, low, high }) => ({
      name: `${paths.join(" × ")}, together`,
      value: 100 * share,
      low: 100 * low,
      high: 100 * high,
      look: "faint" as const,
      text: percent(share),
    }));
  const chart = barChart({
    description: `Shares of the variance of ${what}, by setting`,
    xLabel: "share of the variance, %",
    bars: [...bars, ...together],
  });
  if (!chart) return NOTHING;
  return html`<figure><h3>Which settings decide</h3>${chart}<figcaption>${trust(answer)} A bar is the part of the variance of ${what} that a setting makes by itself over the whole space, by functional analysis of variance of a random forest; its whisker holds 80 % of the forest's trees. The dotted line is what chance reaches 5 times in 100 with as many trials: only a bar beyond it says something.</figcaption></figure>`;
}

/** How much the forest knows, and so how far its shares can be believed. */
function trust(answer: Importance): Html {
  const { numTrials, outOfBagR2 } = answer;
  const found = decisive(answer).map(({ path }) => path);
  const known =
    outOfBagR2 === null || outOfBagR2 <= 0
      ? html`The forest foretells trials that it has not seen no better than their mean would: <b>read nothing into these shares</b>; more trials are needed.`
      : outOfBagR2 < 0.3
        ? html`The forest explains only ${formatPercent(outOfBagR2)} of the differences between trials that it has not seen: take the order as a hint.`
        : html`The forest explains ${formatPercent(outOfBagR2)} of the differences between trials that it has not seen.`;
  const who =
    found.length === 0
      ? html`With ${formatCount(numTrials)} trials no setting stands out from chance.`
      : html`With ${formatCount(numTrials)} trials ${found.join(" and ")} ${found.length === 1 ? "stands" : "stand"} out from chance.`;
  return html`${who} ${known}`;
}

function effectFigure(setting: SettingImportance, answer: Importance, { space, spec }: StudyRecord, epochs: number): Html {
  const axis = space.find(({ path }) => path === setting.path);
  if (!axis) return NOTHING;
  const { metric } = spec;
  const scaled = (value: number): number => scaledMetric(value, metric);
  // One y axis for all, so that a setting which does little looks as if it did.
  const y = {
    label: axisTitle(metric),
    ...boundsOf(decisive(answer).flatMap(({ effect }) => effect.flatMap(({ low, high }) => [scaled(low), scaled(high)]))),
  };
  const x = { label: setting.path, from: 0, to: 1, marks: marksOf(axis.domain) };
  const description = `${axisTitle(metric)} by ${setting.path}, every other setting averaged out`;
  const isDiscrete = axis.domain.kind === "choice" || (axis.domain.kind === "int" && setting.effect.length <= MAX_DOTS);
  const chart = isDiscrete
    ? intervalChart({
        description,
        x,
        y,
        series: [
          {
            name: setting.path,
            tone: "clean",
            points: setting.effect.map(({ u, mean, low, high }) => ({ x: u, y: scaled(mean), low: scaled(low), high: scaled(high) })),
          },
        ],
      })
    : bandChart({
        description,
        x,
        y,
        series: [
          {
            name: setting.path,
            tone: "clean",
            points: setting.effect.map(({ u, mean, low, high }) => ({ x: u, middle: scaled(mean), ranges: [[scaled(low), scaled(high)]] })),
          },
        ],
      });
  if (!chart) return NOTHING;
  return html`<figure><h3>What ${setting.path} does</h3>${chart}<figcaption>The forest's mean ${METRICS[metric.name].title} after ${formatSetting(epochs)} epochs at each value, every other setting averaged out; ${isDiscrete ? "the bar" : "the band"} holds 80 % of the trees. ${metric.goal === "max" ? "Higher" : "Lower"} is better.</figcaption></figure>`;
}
