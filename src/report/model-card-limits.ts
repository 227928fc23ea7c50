/** What is known to be weak in a model, and what nobody has measured, one sentence each, from its files alone. */
import { formatAttack, formatCount, formatEps, formatNumber, formatPercent } from "../evaluate/format.js";
import { text } from "./markdown.js";
import { isOfAnotherStep, type RunRecord } from "./run-record.js";

/** Below it, energy does not tell other images from the model's own data. */
const NOTICED = 0.7;

export function limitsOf(record: RunRecord): string[] {
  const { evaluation, analysis, alarms } = record;
  const limits: string[] = [];
  if (isOfAnotherStep(record)) {
    limits.push(
      `analysis.json is of step ${formatCount(analysis?.model.step ?? 0)}, evaluation.json of step ${formatCount(evaluation?.step ?? 0)}: their figures are of different models until the run is analysed again.`,
    );
  }
  if (!evaluation) limits.push("Accuracy and robustness were not evaluated (`isoerg evaluate`).");
  else {
    const { trained, robustness, settings } = evaluation;
    const attack = trained.attacks[0];
    if (robustness?.robust && robustness.standard) {
      limits.push(
        `AutoAttack was run in its standard version, on ${formatCount(robustness.samples)} samples. Attacks adapted to this model were not tried; accuracy under attack is an upper bound.`,
      );
    } else if (robustness?.robust) {
      limits.push(
        "Only a part of AutoAttack was run, or with less effort: its figure is not comparable with published ones, and too high rather than too low.",
      );
    } else if (attack) {
      limits.push(`AutoAttack was not run. Robustness was measured by ${text(formatAttack(attack))} only, which leaves mistakes unfound.`);
    } else limits.push("No attack was tried.");
    const eps = robustness?.robust ? robustness : attack;
    if (eps) {
      limits.push(
        `Robustness holds for ${eps.norm === "linf" ? "Linf" : "L2"} up to ${formatEps(eps.eps)} of a pixel's range. Other norms, larger budgets, and disturbances such as blur, shift or another camera were not measured.`,
      );
    }
    if (!robustness?.checklist)
      limits.push("The checklist against gradient masking was not run: nothing says whether the attack or the model is what holds.");
    else {
      const suspicious = robustness.checklist.checks.filter(({ verdict }) => verdict === "suspicious");
      if (suspicious.length === 0) limits.push("The checklist against gradient masking found nothing suspicious, which proves nothing.");
      for (const { title, figures } of suspicious) {
        limits.push(
          `**Suspicious**: the checklist against gradient masking expects that ${text(title)}, and found ${text(figures)}. Accuracy under attack must not be relied upon until this is understood.`,
        );
      }
    }
    if (!robustness?.certification) limits.push("No robustness was certified.");
    limits.push(
      `All figures are of one training with one seed (${evaluation.seed}), attacks of ${formatCount(settings.samples)} test samples.`,
    );
  }
  if (!analysis) limits.push("Behaviour on unknown images and calibration were not analysed (`isoerg analyze`).");
  else {
    for (const { set, energy } of analysis.detection) {
      const kind = analysis.sets.find(({ name }) => name === set)?.kind;
      if (energy.auroc >= NOTICED || kind === "adversarial" || kind === "generated" || kind === "buffer") continue;
      const how = energy.auroc < 0.5 ? "takes them for more typical than its own data" : "hardly tells them from its own data";
      limits.push(`On ${text(set)} its energy ${how} (AUROC ${energy.auroc.toFixed(2)}): it decides there as if nothing were wrong.`);
    }
    for (const { topic, grade, text: said } of analysis.verdict) {
      if (grade === "weak" && topic !== "unknown images" && topic !== "confidence") limits.push(`${text(topic)}: ${text(said)}`);
    }
    const { ece, meanConfidence, accuracy, numSamples } = analysis.calibration.before;
    limits.push(
      `Its confidence is off by ${formatPercent(ece)} on average (${formatPercent(meanConfidence)} sure, ${formatPercent(accuracy)} right, ${formatCount(numSamples)} samples); a temperature of ${formatNumber(analysis.calibration.temperature)} fits better.`,
    );
  }
  if (alarms && alarms.length > 0) {
    limits.push(
      `The stability guard took the training back ${formatCount(alarms.length)} ${alarms.length === 1 ? "time" : "times"} and changed settings; the journal says why.`,
    );
  }
  return limits;
}
