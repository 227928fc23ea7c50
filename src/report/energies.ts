/** The energies of clean, adversarial and generated samples over each other: the picture that the whole training is about. */

import type { ModelEvaluation } from "../evaluate/evaluation.js";
import type { EnergyGap } from "../evaluate/figures/energy-gap.js";
import { formatCount, formatNumber, formatPercent } from "../evaluate/format.js";
import { histogramChart } from "./charts/histogram-chart.js";
import { cite, type Doc, sourceOf, within } from "./cite.js";
import { type Html, html, NOTHING } from "./html.js";

/** @param doc where the model's figures stand */
export function energyFigure(title: string, model: ModelEvaluation, doc: Doc): Html {
  const { clean, adversarial, generated } = model.energies;
  const drawn = histogramChart({
    description: `Histograms of the energies of clean, adversarial and generated samples: ${title}`,
    source: sourceOf(doc, "/energies"),
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
      ? ` ${drawn.numOutside === 1 ? "One sample at a far end is" : `${formatCount(drawn.numOutside)} samples at the far ends are`} left out of the picture, not of the figures.`
      : "";
  return html`<figure><h3>${title}</h3>${drawn.chart}<figcaption>${sentences(model, doc)}${outside}</figcaption></figure>`;
}

function sentences({ gaps }: ModelEvaluation, doc: Doc): Html {
  return html`${gaps.adversarial ? distanceSentence("Adversarial samples", gaps.adversarial, within(doc, "/gaps/adversarial")) : NOTHING} ${gaps.generated ? distanceSentence("Generated samples", gaps.generated, within(doc, "/gaps/generated")) : NOTHING}`;
}

/** "Adversarial samples lie 0.03 above clean ones on average, 0.16 of the clean energies' standard deviations apart; 93.0 % of the area is shared." */
function distanceSentence(who: string, gap: EnergyGap, doc: Doc): Html {
  const where = cite(doc, "/signedMean", (mean) => `${formatNumber(Math.abs(mean))} ${mean < 0 ? "below" : "above"}`);
  const inStd =
    gap.wassersteinOverStd === null
      ? NOTHING
      : html`, ${cite(doc, "/wassersteinOverStd", formatNumber)} of the clean energies' standard deviations apart`;
  return html`${who} lie ${where} clean ones on average${inStd}; ${cite(doc, "/overlap/coefficient", formatPercent)} of the area is shared.`;
}
