/** The quickstart's figures side by side: jointly trained, trained in the ordinary way, and before training. */
import type { Evaluation, ModelEvaluation } from "../../evaluate/evaluation.js";
import { formatAttack, formatCount, formatNumber, formatPercent, formatSigned } from "../../evaluate/format.js";
import { textTable } from "../text-table.js";

/**
 * @param joint evaluated together with its network before training
 * @param standard the same network and budget, trained in the ordinary way
 */
export function compareFigures(joint: Evaluation, standard: Evaluation): string {
  const models = [joint.trained, standard.trained, ...(joint.untrained ? [joint.untrained] : [])];
  const row = (label: string, value: (model: ModelEvaluation) => string): string[] => [label, ...models.map(value)];
  const gapRows = (kind: "adversarial" | "generated", name: string): string[][] => {
    if (models.every((model) => model.gaps[kind] === null)) return [];
    const gapOf = (model: ModelEvaluation, pick: (gap: NonNullable<ModelEvaluation["gaps"][typeof kind]>) => string) => {
      const gap = model.gaps[kind];
      return gap ? pick(gap) : "-";
    };
    return [
      row(`E(${name}) - E(clean): mean`, (model) => gapOf(model, (gap) => formatSigned(gap.signedMean))),
      row("    W1", (model) => gapOf(model, (gap) => formatNumber(gap.wasserstein))),
      row("    W1 / std E(clean)", (model) =>
        gapOf(model, (gap) => (gap.wassersteinOverStd === null ? "-" : formatNumber(gap.wassersteinOverStd))),
      ),
    ];
  };
  const [attack] = joint.trained.attacks;
  return textTable([
    ["", "joint", "standard", ...(joint.untrained ? ["untrained"] : [])],
    row(`clean accuracy, ${formatCount(joint.trained.clean.total)} test images`, (model) => formatPercent(model.clean.accuracy)),
    ...(attack
      ? [
          row(`accuracy under ${formatAttack(attack)}, ${formatCount(attack.accuracy.total)}`, (model) => {
            const same = model.attacks[0];
            return same ? formatPercent(same.accuracy.accuracy) : "-";
          }),
        ]
      : []),
    ...gapRows("adversarial", "adversarial"),
    ...gapRows("generated", "generated"),
  ]);
}
