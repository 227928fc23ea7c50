/** The top of the page: the result in two sentences and four figures, and what the figures do not say. */
import type { Evaluation, ModelEvaluation } from "../evaluate/evaluation.js";
import { formatAttack, formatCount, formatEps, formatNumber, formatPercent } from "../evaluate/format.js";
import { cite, type Doc, inPercent } from "./cite.js";
import { type Html, html, NOTHING } from "./html.js";
import { cascadeName } from "./robustness.js";

/** The strictest accuracy under attack that was measured: where it stands, and what it is under. */
export function strictest({
  trained,
  robustness,
}: Evaluation): { pointer: string; under: string; norm: "linf" | "l2"; eps: number } | null {
  if (robustness?.robust) {
    const { norm, eps } = robustness;
    return {
      pointer: "/robustness/robust",
      under: `${cascadeName(robustness)}, ${norm === "linf" ? "Linf" : "L2"} ${formatEps(eps)}`,
      norm,
      eps,
    };
  }
  const attack = trained.attacks[0];
  if (!attack) return null;
  const { norm, eps } = attack;
  return trained.worstCase
    ? { pointer: "/trained/worstCase", under: "the strongest of the attacks", norm, eps }
    : { pointer: "/trained/attacks/0/accuracy", under: formatAttack(attack), norm, eps };
}

export function summary(evaluation: Evaluation | undefined, doc: Doc): Html {
  if (!evaluation)
    return html`<p class="missing">This run is not evaluated yet. <code>isoerg evaluate RUN</code> measures accuracy, robustness and energies; then write the report again.</p>`;
  const { trained } = evaluation;
  const tile = (figure: Html, text: Html): Html => html`<div class="tile"><b>${figure}</b><span>${text}</span></div>`;
  const share = (pointer: string, text: string): Html =>
    tile(
      cite(doc, `${pointer}/accuracy`, formatPercent),
      html`${text} (${cite(doc, `${pointer}/interval/0`, inPercent)} to ${cite(doc, `${pointer}/interval/1`, inPercent)} %; ${cite(doc, `${pointer}/total`, formatCount)} samples)`,
    );
  const gap = (other: "adversarial" | "generated"): Html => {
    if (!trained.gaps[other]) return NOTHING;
    const text = html`standard deviations between the energies of clean and ${other} samples; 0 is full alignment`;
    return tile(isMeasured(trained, other) ? cite(doc, `/trained/gaps/${other}/wassersteinOverStd`, formatNumber) : html`-`, text);
  };
  const attacked = strictest(evaluation);
  return html`<p class="lead">${inWords(evaluation, doc)}</p>
<div class="tiles">
${share("/trained/clean", "right on clean test samples")}
${attacked ? share(attacked.pointer, `right under ${attacked.under}`) : NOTHING}
${gap("adversarial")}
${gap("generated")}
</div>`;
}

function isMeasured({ gaps }: ModelEvaluation, other: "adversarial" | "generated"): boolean {
  return gaps[other]?.wassersteinOverStd != null;
}

/** The result in two sentences for someone who has never heard of energies. */
function inWords(evaluation: Evaluation, doc: Doc): Html {
  const outOf100 = (share: number): string => `about ${Math.round(100 * share)}`;
  const first = html`Of 100 test samples as they are, the model names ${cite(doc, "/trained/clean/accuracy", outOf100)} right.`;
  const attacked = strictest(evaluation);
  if (!attacked) return first;
  const { norm, eps, pointer } = attacked;
  const change =
    norm === "linf"
      ? `moved each pixel by up to ${formatEps(eps)} of its range`
      : `changed the image by up to ${formatEps(eps)} in Euclidean distance`;
  return html`${first} When someone who knows the model has ${change} so as to mislead it, ${cite(doc, `${pointer}/accuracy`, outOf100)} are still right.`;
}

export function limits(evaluation: Evaluation | undefined): Html {
  if (!evaluation) return NOTHING;
  const { trained, settings, robustness } = evaluation;
  const attacks =
    robustness?.standard && robustness.robust
      ? html`AutoAttack was run in its standard version on ${formatCount(robustness.samples)} samples. Attacks made for this model may find more mistakes`
      : html`The attacks are projected gradient ascent${trained.attacks[0] ? html` of ${trained.attacks[0].steps} steps` : NOTHING}. Stronger ones exist (AutoAttack, adaptive attacks) and may find more mistakes`;
  return html`<details open><summary>What these figures do not say</summary><ul>
<li>${attacks}: an accuracy under attack is an upper bound, never a guarantee.</li>
<li>It holds for the stated budget and norm, on ${formatCount(settings.samples)} test samples, for one training with one seed. Other disturbances (blur, shift, another camera) are not measured here.</li>
<li>A small energy gap alone does not make a model robust; read it beside the accuracy under attack.</li>
<li>Generated samples are ${formatCount(settings.freshChains)} fresh chains of ${formatCount(settings.freshSteps)} steps, none left out. Their energies say that the model finds them plausible, not that people do: look at them.</li>
</ul></details>`;
}
