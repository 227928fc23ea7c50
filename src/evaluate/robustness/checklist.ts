/**
 * Signs that an attack, not the model, is what holds: the checklist of Athalye, Carlini & Wagner 2018 and Carlini et al. 2019
 * ("On evaluating adversarial robustness"), with AutoAttack's own flags. Pure: figures in, verdicts with these figures out.
 *
 * A "suspicious" says that the robust accuracy must not be believed until somebody has found out why. A "pass" is no proof.
 */
import { formatPercent } from "../format.js";
import type { Probe, RobustCheck } from "./robustness.js";

export interface ChecklistInput {
  readonly probe: (id: string) => Probe | undefined;
  /** Smallest budget first. */
  readonly curve: readonly Probe[];
  readonly eps: number;
  readonly sanity: { readonly total: number; readonly changed: number; readonly probabilities: number; readonly zeroGradient: number };
  /** Loss surfaces drawn; those on which PGD stood and a point was misclassified. */
  readonly surfaces: { readonly total: number; readonly missed: number };
  /** Samples evaluated, and those that Square alone fooled after all gradient attacks; null where it was not so run. */
  readonly square: { readonly samples: number; readonly fooled: number } | null;
  /** Accuracy under attacks made on another model, and on this one; null where no other model was given. */
  readonly transfer: { readonly accuracy: number; readonly own: number } | null;
}

/** Accuracies of two attacks that differ by less say nothing. */
const SLACK = 0.02;
/** More iterations may find so much more. */
const CONVERGED = 0.05;

export function checklist(input: ChecklistInput): RobustCheck[] {
  const accuracy = (id: string): number => input.probe(id)?.accuracy.accuracy ?? Number.NaN;
  const share = (id: string): string => formatPercent(accuracy(id));
  const slack = Math.max(SLACK, 1.5 / Math.max(1, input.sanity.total));
  const { sanity, curve, surfaces, square, transfer } = input;
  const judge = (id: string, title: string, holds: boolean, figures: string): RobustCheck => ({
    id,
    title,
    verdict: holds ? "pass" : "suspicious",
    figures,
  });
  const last = curve.at(-1)?.accuracy.accuracy ?? Number.NaN;
  const atBudget = curve.filter((point) => point.eps >= input.eps * (1 - 1e-9)).map((point) => point.accuracy.accuracy);
  const falls = curve.every((point, i) => i === 0 || point.accuracy.accuracy <= (curve[i - 1] as Probe).accuracy.accuracy + slack);
  const fallsAtOnce = (atBudget[1] ?? 0) < (atBudget[0] ?? 0) || (atBudget[0] ?? 0) <= slack;
  const strongest = Math.min(accuracy("pgd"), accuracy("pgd-longer"), accuracy("pgd-restarts"), accuracy("apgd"));

  return [
    judge("deterministic", "two passes give the same outputs", sanity.changed === 0, `${sanity.changed} of ${sanity.total} differ`),
    judge(
      "logits",
      "outputs are logits, not probabilities",
      sanity.probabilities <= sanity.total / 2,
      `${sanity.probabilities} of ${sanity.total} look like probabilities`,
    ),
    judge(
      "zero-gradients",
      "input gradients do not vanish",
      sanity.zeroGradient <= 0.01 * sanity.total,
      `${sanity.zeroGradient} of ${sanity.total} are zero or not a number`,
    ),
    judge(
      "iterative",
      "iterative attacks are stronger than one step",
      accuracy("pgd") <= accuracy("fgsm") + slack,
      `${share("pgd")} under PGD, ${share("fgsm")} under FGSM`,
    ),
    judge(
      "iterations",
      "five times the iterations change little",
      accuracy("pgd") - accuracy("pgd-longer") <= CONVERGED,
      `${share("pgd")}, then ${share("pgd-longer")}`,
    ),
    judge(
      "restarts",
      "five starts change little",
      accuracy("pgd") - accuracy("pgd-restarts") <= CONVERGED,
      `${share("pgd")}, then ${share("pgd-restarts")}`,
    ),
    judge(
      "larger-budget",
      "a larger budget makes the attack stronger",
      falls && fallsAtOnce,
      curve.map((point) => formatPercent(point.accuracy.accuracy)).join(", "),
    ),
    judge("whole-range", "the largest budget leaves nothing", last <= 0.01, `${formatPercent(last)} where any image may become any other`),
    judge(
      "gradient-free",
      "attacks without gradients are weaker",
      accuracy("square") >= strongest - slack && (square === null || square.fooled < 2 || square.fooled <= 0.002 * square.samples),
      `${share("square")} under Square alone, ${formatPercent(strongest)} under gradients${
        square ? `; ${square.fooled} of ${square.samples} fooled by Square alone` : ""
      }`,
    ),
    judge(
      "noise",
      "random noise is weaker",
      accuracy("noise") >= strongest - slack,
      `${share("noise")} under noise, ${formatPercent(strongest)} under gradients`,
    ),
    judge(
      "logit-scale",
      "a loss at another temperature finds no more",
      accuracy("apgd") - accuracy("temperature") <= slack,
      `${share("apgd")}, ${share("temperature")} at temperature`,
    ),
    judge(
      "surfaces",
      "loss surfaces hold nothing that PGD walked past",
      surfaces.missed === 0,
      `${surfaces.missed} of ${surfaces.total} hold a misclassified point where PGD found none`,
    ),
    transfer === null
      ? {
          id: "transfer",
          title: "attacks made on another model are weaker",
          verdict: "not applicable",
          figures: "no other model was given",
        }
      : judge(
          "transfer",
          "attacks made on another model are weaker",
          transfer.accuracy >= transfer.own - slack,
          `${formatPercent(transfer.accuracy)} under transferred attacks, ${formatPercent(transfer.own)} under its own`,
        ),
  ];
}
