/**
 * What the guard watches: one rule a signal. A rule reads a number from a step's figures, larger is worse; it alarms when the
 * number's latest level passes a limit, or grows far beyond its usual level. All figures are means over the global batch, so
 * every rule sees the same at any number of workers.
 *
 * The signals are those that the reports on diverging energy-based training name (wgrathwohl/JEM issues 4 and 8: the contrast
 * f(x) - f(x-), energies, chains that stick to the border), and, for cheap adversarial training, catastrophic overfitting (Wong,
 * Rice & Kolter 2020: accuracy under a stronger attack on TRAINING samples). To add one is to add a line to the registry.
 */
import type { GuardConfig } from "../../config/schema.js";

export type Figures = Readonly<Record<string, number>>;

/** Which intervention answers it. */
export type Family = "generative" | "overfitting";

export interface Rule {
  readonly name: string;
  readonly family: Family;
  /** For the sentence: "<what> is ...". */
  readonly what: string;
  /** undefined: this step has no reading (no chains in it). */
  readonly read: (figures: Figures) => number | undefined;
  /** `limit`: the level itself. `least`: it must not fall below. `growth`: against the usual level. `drop`: below the best level so far (`read` is better when larger). */
  readonly kind: "limit" | "least" | "growth" | "drop";
  /** Of `limit`, `least` and `drop`. */
  readonly limit: (limits: GuardConfig["limits"]) => number;
  /** Of `growth`: levels below this are never an alarm. */
  readonly floor?: number;
  /** For signals that are read rarely, in place of the policy's. */
  readonly own?: { readonly window: number; readonly patience: number };
  readonly tryThis: string;
}

const energy = (view: string) => (figures: Figures) => root(figures[`guard/energy-square/${view}`]);
const contrast = (figures: Figures): number | undefined => {
  const [clean, generated] = [figures["energy/clean"], figures["energy/generated"]];
  return clean === undefined || generated === undefined ? undefined : Math.abs(generated - clean);
};
const root = (square: number | undefined): number | undefined => (square === undefined ? undefined : Math.sqrt(Math.max(0, square)));
const figure = (name: string) => (figures: Figures) => figures[name];
const none = (): number => Number.POSITIVE_INFINITY;

const weaker = "a smaller optimizer.lr, more sampler.steps, a larger objective.energy-l2, a smooth activation";

type Written = Omit<Rule, "family" | "tryThis"> & Partial<Pick<Rule, "family" | "tryThis">>;

const written: readonly Written[] = [
  ...["clean", "generated"].flatMap((view): Written[] => [
    { name: "energy", kind: "limit", read: energy(view), limit: (limits) => limits.energy, what: `the root mean square of E(${view})` },
    { name: "energy-growth", kind: "growth", read: energy(view), limit: none, floor: 50, what: `the root mean square of E(${view})` },
  ]),
  {
    name: "contrast",
    kind: "limit",
    read: contrast,
    limit: ({ contrast: limit }) => limit,
    what: "the contrast |E(generated) - E(clean)|",
  },
  { name: "contrast-growth", kind: "growth", read: contrast, limit: none, floor: 30, what: "the contrast |E(generated) - E(clean)|" },
  {
    name: "chain-gradient",
    kind: "limit",
    read: figure("guard/chain-gradient"),
    limit: ({ chainGradient }) => chainGradient,
    what: "the energy's gradient on chains",
  },
  {
    name: "dead-gradient",
    kind: "least",
    read: figure("guard/chain-gradient"),
    limit: ({ deadGradient }) => deadGradient,
    what: "the energy's gradient on chains, which no longer move,",
  },
  {
    name: "saturation",
    kind: "limit",
    read: figure("guard/saturation"),
    limit: ({ saturation }) => saturation,
    what: "the share of saturated pixels in chains, over that of clean samples,",
    tryThis: "a smaller sampler.stepSize, sampler.clampGradient, a larger objective.energy-l2",
  },
  {
    name: "gradient-norm",
    kind: "limit",
    read: figure("gradient-norm"),
    limit: ({ gradientNorm }) => gradientNorm,
    what: "the gradient's norm",
    tryThis: "optimizer.clipNorm, a smaller optimizer.lr",
  },
  {
    name: "accuracy",
    kind: "drop",
    read: figure("accuracy/clean"),
    limit: ({ accuracyDrop }) => accuracyDrop,
    what: "clean training accuracy",
    tryThis: "a smaller optimizer.lr, a smaller weight of contrast",
  },
  {
    name: "catastrophic-overfitting",
    kind: "drop",
    family: "overfitting",
    read: figure("co/pgd-accuracy"),
    limit: ({ robustDrop }) => robustDrop,
    own: { window: 2, patience: 2 }, // looked at every few hundred steps
    what: "training accuracy under the checking attack",
    tryThis: "more attack.steps, N-FGSM in place of FGSM, a smaller attack.eps",
  },
];

export const RULES: readonly Rule[] = written.map((rule) => ({ family: "generative", tryThis: weaker, ...rule }));
