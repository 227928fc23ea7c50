/** The `robustness` section of an evaluation as a person reads it on the terminal. */

import { formatAccuracy, formatCount, formatEps, formatNumber } from "../../evaluate/format.js";
import type { Robustness } from "../../evaluate/robustness/robustness.js";
import { textTable } from "../text-table.js";

const normName = (norm: "linf" | "l2"): string => (norm === "linf" ? "Linf" : "L2");

export function describeRobustness(robustness: Robustness): string {
  const { norm, eps, samples, attacks, robust, checklist, curve, sensitivity, certification } = robustness;
  const parts: string[] = [];
  if (robust) {
    const name = robustness.standard ? "AutoAttack, standard version" : "Robustness";
    parts.push(
      `\n${name}, ${normName(norm)} ${formatEps(eps)} in pixels, ${formatCount(samples)} test samples (95 % confidence)\n`,
      textTable([
        ["", "attacked", "fooled", "accuracy"],
        ["without attack", formatCount(samples), formatCount(samples - robustness.clean.correct), formatAccuracy(robustness.clean)],
        ...attacks.map((one) => [one.title, formatCount(one.attacked), formatCount(one.fooled), formatAccuracy(one.accuracy)]),
        ["worst case, sample by sample", "", "", formatAccuracy(robust)],
      ]),
    );
  }
  if (checklist) {
    parts.push(
      `\nSigns of gradient masking, ${checklist.numCorrect} correctly classified of the first ${checklist.numProbed} samples\n`,
      textTable(
        [...checklist.checks.map(({ title, verdict, figures }) => [`${MARKS[verdict]} ${title}`, `${verdict}: ${figures}`])].map(
          ([left, right]) => [`${(left ?? "").padEnd(WIDEST)}  ${right}`],
        ),
      ),
    );
    const suspicious = checklist.checks.filter(({ verdict }) => verdict === "suspicious").length;
    if (suspicious > 0) parts.push(`${suspicious} suspicious: do not believe the accuracy above before the reason is known.\n`);
  }
  if (curve.length > 0) {
    parts.push(
      `\nAccuracy of these samples against the budget, ${curve[0]?.title}\n`,
      textTable(curve.map((point) => [`${normName(point.norm)} ${formatEps(point.eps)}`, formatAccuracy(point.accuracy)])),
    );
  }
  if (sensitivity) {
    parts.push(
      `\nLargest changes found within ${normName(sensitivity.norm)} ${formatEps(sensitivity.eps)}, ${sensitivity.steps} steps, ${sensitivity.total} samples\n`,
      textTable([
        ["", "mean", "median", "max"],
        ...(
          [
            ["logits, |f(x') - f(x)|", sensitivity.logits],
            [`per pixel distance in ${normName(sensitivity.norm)}`, sensitivity.lipschitz],
            ["energy, |E(x') - E(x)|", sensitivity.energy],
          ] as const
        ).map(([label, { mean, median, max }]) => [label, formatNumber(mean), formatNumber(median), formatNumber(max)]),
      ]),
    );
  }
  if (certification) {
    const { sigma, estimate, select, alpha, total, abstained, radiusCap, predicted } = certification;
    parts.push(
      `\nCertified by randomised smoothing, L2, sigma ${formatNumber(sigma)}, ${formatCount(select)} + ${formatCount(estimate)} draws, alpha ${alpha}, ${formatCount(total)} samples\n`,
      textTable([
        ["radius in pixels", "certified accuracy"],
        ...certification.curve.map(({ radius, accuracy }) => [formatNumber(radius), formatAccuracy(accuracy)]),
      ]),
      `abstained on ${abstained} of ${total}; smoothed predictions right ${formatAccuracy(predicted)}; no radius above ${formatNumber(radiusCap)} with so many draws\n`,
    );
  }
  return parts.join("");
}

const MARKS = { pass: "+", suspicious: "!", "not applicable": " " } as const;
const WIDEST = 50;
