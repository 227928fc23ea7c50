/**
 * The claims that this project rests on, each with a rule that decides it from the table: pure functions, written down before the
 * figures were known. `shown` and `refuted` ask for one-sided 95 % bounds over the seeds on the right side of a margin (Student's t,
 * paired by seed; a factor is the difference of logarithms); everything else is `undecided`.
 */
import type { CellFigures } from "./results.js";
import { differenceOf, spreadOf, type Table } from "./summary.js";

export type Verdict = "shown" | "refuted" | "undecided";

export interface Decision {
  readonly claim: string;
  readonly verdict: Verdict;
  /** The figures it was decided on, one sentence each. */
  readonly because: readonly string[];
}

/** A gap is closed when it is smaller by this factor than in ordinary training. */
const CLOSED = 5;
/** Points of accuracy that may be lost for an accuracy to be kept. */
const KEPT_POINTS = 3;
/** A sample quality is kept when the distance is at most so many times the other's. */
const KEPT_DISTANCE = 1.25;

type Figure = (figures: CellFigures) => number | null;
const clean: Figure = (figures) => figures.clean;
const robust: Figure = (figures) => figures.apgd;
const adversarialGap: Figure = (figures) => figures.adversarial.wassersteinOverStd;
const generatedGap: Figure = (figures) => figures.generated.wassersteinOverStd;
const quality: Figure = (figures) => figures.frechetFresh;

interface Check {
  readonly verdict: Verdict;
  readonly because: string;
}

export function decide(table: Table): Decision[] {
  const closesAdversarial = (method: string): Check =>
    factorBelow(table, "W1 / std E of adversarial images", method, "standard", adversarialGap, 1 / CLOSED);
  const closesGenerated = (method: string): Check =>
    factorBelow(table, "W1 / std E of fresh chains", method, "standard", generatedGap, 1 / CLOSED);
  const decisions: (readonly [claim: string, ...checks: Check[]])[] = [
    [
      `Adversarial training closes the clean-adversarial gap (${CLOSED} times smaller than in ordinary training)`,
      closesAdversarial("smooth-at"),
    ],
    [`JEM closes the clean-generated gap (${CLOSED} times smaller than in ordinary training)`, closesGenerated("jem")],
    [
      "JEM alone leaves a network without robustness (10 points of APGD accuracy below adversarial training)",
      pointsAbove(table, "APGD accuracy", "smooth-at", "jem", robust, 10),
    ],
    [
      "EB-JDAT's released code gives no robustness at the stated budget (10 points of APGD accuracy below adversarial training)",
      pointsAbove(table, "APGD accuracy", "smooth-at", "eb-jdat-as-released", robust, 10),
    ],
    [
      "Symmetric alignment beats the signed one of EB-JDAT's paper in robustness",
      pointsAbove(table, "APGD accuracy", "jdat", "eb-jdat-paper", robust, 0),
    ],
    ["Aligned training closes both gaps", closesAdversarial("jdat"), closesGenerated("jdat")],
    [
      `Aligned training keeps accuracy and robustness (within ${KEPT_POINTS} points of adversarial training)`,
      pointsAbove(table, "clean accuracy", "jdat", "smooth-at", clean, -KEPT_POINTS),
      pointsAbove(table, "APGD accuracy", "jdat", "smooth-at", robust, -KEPT_POINTS),
    ],
    [
      `Aligned training keeps sample quality (Fréchet distance at most ${KEPT_DISTANCE} times JEM's)`,
      factorBelow(table, "Fréchet distance of fresh chains", "jdat", "jem", quality, KEPT_DISTANCE),
    ],
    [
      "The alignment terms make the clean-adversarial gap smaller",
      factorBelow(table, "W1 / std E of adversarial images", "jdat", "jdat-unaligned", adversarialGap, 1),
    ],
    [
      "The alignment terms make the clean-generated gap smaller",
      factorBelow(table, "W1 / std E of fresh chains", "jdat", "jdat-unaligned", generatedGap, 1),
    ],
    ["The alignment terms raise robustness", pointsAbove(table, "APGD accuracy", "jdat", "jdat-unaligned", robust, 0)],
    [
      "A smooth activation raises robustness (silu against relu, the same adversarial training)",
      pointsAbove(table, "APGD accuracy", "smooth-at", "pgd-at", robust, 0),
    ],
  ];
  return decisions.map(([claim, ...checks]) => ({
    claim,
    verdict: together(checks.map(({ verdict }) => verdict)),
    because: checks.map(({ because }) => because),
  }));
}

/** A claim of several parts is shown when all are, and refuted when one is. */
export function together(verdicts: readonly Verdict[]): Verdict {
  if (verdicts.includes("refuted")) return "refuted";
  return verdicts.every((verdict) => verdict === "shown") ? "shown" : "undecided";
}

/** figure(a) - figure(b) > margin, in points of percent. */
export function pointsAbove(table: Table, name: string, a: string, b: string, figure: Figure, margin: number): Check {
  const points = table.differences(a, b, figure).map((difference) => 100 * difference);
  const means = [a, b].map((method) => spreadOf(table.values(method, figure)).mean);
  if (points.length === 0) return missing(name, a, b);
  const { low, high, mean, n } = differenceOf(points);
  const verdict = low > margin ? "shown" : high < margin ? "refuted" : "undecided";
  const [left, right] = means.map((value) => (100 * value).toFixed(1));
  return {
    verdict,
    because: `${name}: ${a} ${left} %, ${b} ${right} %: ${signed(mean)} points, 95 % bounds ${bound(low)} and ${bound(high)}, margin ${signed(margin)}, ${n} seeds`,
  };
}

/** figure(a) / figure(b) < factor. */
export function factorBelow(table: Table, name: string, a: string, b: string, figure: Figure, factor: number): Check {
  const logarithm: Figure = (figures) => {
    const value = figure(figures);
    return value === null || value <= 0 ? null : Math.log(value);
  };
  const differences = table.differences(a, b, logarithm);
  if (differences.length === 0) return missing(name, a, b);
  const { low, high, mean, n } = differenceOf(differences);
  const margin = Math.log(factor);
  const verdict = high < margin ? "shown" : low > margin ? "refuted" : "undecided";
  const [left, right] = [a, b].map((method) => digits(spreadOf(table.values(method, figure)).mean));
  return {
    verdict,
    because: `${name}: ${a} ${left}, ${b} ${right}: ${digits(Math.exp(mean))} times, 95 % bounds ${times(low)} and ${times(high)}, margin ${digits(factor)}, ${n} seeds`,
  };
}

function missing(name: string, a: string, b: string): Check {
  return { verdict: "undecided", because: `${name}: no seed has both ${a} and ${b}` };
}

const digits = (value: number): string => Number(value.toPrecision(3)).toString();
const signed = (value: number): string => `${value >= 0 ? "+" : ""}${value.toFixed(1)}`;
const bound = (value: number): string => (Number.isFinite(value) ? signed(value) : "none");
const times = (logarithm: number): string => (Number.isFinite(logarithm) ? digits(Math.exp(logarithm)) : "none");
