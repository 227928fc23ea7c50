/** The energies of clean, adversarial and generated samples over each other: the picture that the whole training is about. */

import type { ModelEvaluation } from "../evaluate/evaluation.js";
import type { EnergyGap } from "../evaluate/figures/energy-gap.js";
import { formatCount, formatNumber, formatPercent } from "../evaluate/format.js";
import { histogramChart } from "./charts/histogram-chart.js";
import { type Html, html, NOTHING } from "./html.js";

export function energyFigure(title: string, model: ModelEvaluation): Html {
  const { clean, adversarial, generated } = model.energies;
  const drawn = histogramChart({
    description: `Histograms of the energies of clean, adversarial and generated samples: ${title}`,
    xLabel: "energy E(x), lower is likelier to the model",
    distributions: [
      { name: "clean", tone: "clean", values: clean },
      { name: "adversarial", tone: "adversarial", values: adversarial },
      { name: "generated", tone: "generated", values: generated },
    ],
  });
  if (!drawn) return NOTHING;
  const outside =
    drawn.numOutside > 0
      ? ` ${formatCount(drawn.numOutside)} samples at the far ends are left out of the picture, not of the figures.`
      : "";
  return html`<figure><h3>${title}</h3>${drawn.chart}<figcaption>${sentences(model)}${outside}</figcaption></figure>`;
}

function sentences({ gaps }: ModelEvaluation): string {
  return [
    gaps.adversarial && distanceSentence("Adversarial samples", gaps.adversarial),
    gaps.generated && distanceSentence("Generated samples", gaps.generated),
  ]
    .filter((sentence) => sentence !== null)
    .join(" ");
}

/** "Adversarial samples lie 0.03 above clean ones on average, 0.16 of the clean energies' standard deviations apart; 93.0 % of the area is shared." */
function distanceSentence(who: string, gap: EnergyGap): string {
  const inStd =
    gap.wassersteinOverStd === null ? "" : `, ${formatNumber(gap.wassersteinOverStd)} of the clean energies' standard deviations apart`;
  const where = `${formatNumber(Math.abs(gap.signedMean))} ${gap.signedMean < 0 ? "below" : "above"}`;
  return `${who} lie ${where} clean ones on average${inStd}; ${formatPercent(gap.overlap.coefficient)} of the area is shared.`;
}
