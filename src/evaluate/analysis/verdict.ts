/**
 * What an analysis means, in sentences for somebody who has to decide about a product and not about a network. Each finding is a grade, by
 * thresholds that stand here and nowhere else, and a sentence with the figures it rests on.
 *
 * A grade judges what was measured and no more: PGD is an upper bound of robustness, and data that were not shown say nothing.
 */
import { formatEps, formatNumber, formatPercent } from "../format.js";
import type { Analysis, Finding } from "./analysis.js";

type Subject = Omit<Analysis, "verdict">;

/** Most important first. */
export function verdictOf(analysis: Subject): Finding[] {
  return [
    robustness(analysis),
    energies(analysis),
    unknown(analysis),
    confidence(analysis),
    overfitting(analysis),
    sampling(analysis),
  ].flat();
}

function robustness({ sets, attacks }: Subject): Finding[] {
  const clean = sets.find(({ kind }) => kind === "clean");
  const attacked = sets.filter(({ kind }) => kind === "adversarial");
  if (!clean?.accuracy) return [];
  const { accuracy, interval } = clean.accuracy;
  const chance = 1 / clean.perClass.length;
  if (interval[0] <= chance && clean.numSamples >= 20) {
    return [
      {
        topic: "accuracy",
        grade: "weak",
        text: `${outOf100(accuracy)} of 100 images are recognised, no more than by guessing (${outOf100(chance)}). A model that was trained elsewhere may be fed wrongly: check the range of its input, the order of its channels, and that its classes come in the order of the data set's.`,
      },
    ];
  }
  const worst = attacked.reduce<(typeof attacked)[number] | undefined>(
    (low, set) => (low?.accuracy && set.accuracy && low.accuracy.accuracy <= set.accuracy.accuracy ? low : set),
    undefined,
  );
  const attack = attacks.find(({ set }) => set === worst?.name);
  if (!worst?.accuracy || !attack) {
    return [{ topic: "accuracy", grade: "note", text: `${outOf100(accuracy)} of 100 images are recognised. No attack was tried.` }];
  }
  const kept = accuracy > 0 ? worst.accuracy.accuracy / accuracy : 0;
  const change =
    attack.norm === "linf"
      ? `changes each pixel by at most ${formatEps(attack.eps)} of its range`
      : `moves an image by at most ${formatEps(attack.eps)} in L2`;
  return [
    {
      topic: "robustness",
      grade: kept >= 0.6 ? "good" : kept >= 0.3 ? "fair" : "weak",
      text: `${outOf100(accuracy)} of 100 images are recognised. Under an attack that ${change} (${worst.name}) ${outOf100(worst.accuracy.accuracy)} are. Stronger attacks may leave fewer.`,
    },
  ];
}

function energies({ sets }: Subject): Finding[] {
  return sets
    .filter(({ kind, marginal }) => kind === "adversarial" && marginal.gap)
    .slice(0, 1)
    .map(({ name, marginal }) => {
      const gap = marginal.gap as NonNullable<typeof marginal.gap>;
      const distance = gap.wassersteinOverStd ?? 0;
      const direction = gap.signedMean > 0 ? "higher (less like data)" : "lower (more like data than data themselves)";
      return {
        topic: "energy gap",
        grade: distance < 0.25 ? "good" : distance < 1 ? "fair" : "weak",
        text: `Attacked images (${name}) have energies that are ${distance < 0.25 ? "nearly those" : `${formatNumber(distance)} standard deviations away from those`} of clean ones${distance < 0.25 ? "" : `, on average ${direction}`}; the distributions overlap by ${formatPercent(gap.overlap.coefficient)}. ${distance < 0.25 ? "The model sees both as the same kind of image." : "The model's picture of its data breaks where the attack leads."}`,
      } satisfies Finding;
    });
}

function unknown({ sets, detection }: Subject): Finding[] {
  const kinds = new Set(["noise", "other-data", "interpolation"]);
  const rows = detection.filter(({ set }) => kinds.has(sets.find(({ name }) => name === set)?.kind ?? ""));
  if (rows.length === 0) return [];
  const scored = rows.map(({ set, energy, maxProbability }) => ({
    set,
    auroc: energy.auroc,
    best: Math.max(energy.auroc, maxProbability.auroc),
  }));
  const missed = scored.filter(({ auroc }) => auroc >= 0.4 && auroc < 0.7);
  const preferred = scored.filter(({ auroc }) => auroc < 0.4);
  const noticed = scored.filter(({ auroc }) => auroc >= 0.9);
  const list = (items: typeof scored): string => items.map(({ set, auroc }) => `${set} (AUROC ${auroc.toFixed(2)})`).join(", ");
  const worst = Math.min(...scored.map(({ auroc }) => auroc));
  const between = scored.filter(({ auroc }) => auroc >= 0.7 && auroc < 0.9);
  return [
    {
      topic: "unknown images",
      grade: worst >= 0.9 ? "good" : worst >= 0.7 ? "fair" : "weak",
      text: [
        noticed.length > 0 ? `By its energy the model tells clean images from ${list(noticed)}.` : "",
        between.length > 0 ? `It tells them only partly from ${list(between)}.` : "",
        missed.length > 0 ? `It does not notice ${list(missed)}.` : "",
        preferred.length > 0 ? `It takes ${list(preferred)} for more typical than the data themselves.` : "",
        missed.length + preferred.length > 0 ? "There it decides as if nothing were wrong." : "",
      ]
        .filter((text) => text !== "")
        .join(" "),
    },
  ];
}

function confidence({ calibration }: Subject): Finding[] {
  const { before, after, temperature } = calibration;
  const over = before.meanConfidence - before.accuracy;
  const word = Math.abs(over) < 0.01 ? "about as sure as it is right" : over > 0 ? "surer than it is right" : "less sure than it is right";
  return [
    {
      topic: "confidence",
      grade: before.ece < 0.03 ? "good" : before.ece < 0.1 ? "fair" : "weak",
      text: `On average the model is ${formatPercent(before.meanConfidence)} sure and ${formatPercent(before.accuracy)} right: ${word}. Confidence is off by ${formatPercent(before.ece)} (ECE, ${before.numBins} bins, ${before.numSamples} samples); dividing the logits by ${formatNumber(temperature)} makes that ${formatPercent(after.ece)}.`,
    },
  ];
}

function overfitting({ sets }: Subject): Finding[] {
  const [clean, train] = ["clean", "train"].map((kind) => sets.find((set) => set.kind === kind));
  const gap = train?.marginal.gap;
  if (!clean?.accuracy || !train?.accuracy || !gap) return [];
  const distance = gap.wassersteinOverStd ?? 0;
  const drop = train.accuracy.accuracy - clean.accuracy.accuracy;
  return [
    {
      topic: "training data",
      grade: distance < 0.2 && drop < 0.05 ? "good" : distance < 0.6 && drop < 0.2 ? "fair" : "weak",
      text: `On training images ${formatPercent(train.accuracy.accuracy)} are right, on test images ${formatPercent(clean.accuracy.accuracy)}; their energies are ${formatNumber(distance)} standard deviations apart.`,
    },
  ];
}

function sampling({ sets, quality }: Subject): Finding[] {
  const found: Finding[] = [];
  const gap = sets.find(({ kind }) => kind === "generated")?.marginal.gap;
  if (gap) {
    const distance = gap.wassersteinOverStd ?? 0;
    found.push({
      topic: "generated images",
      grade: distance < 0.5 ? "good" : distance < 2 ? "fair" : "weak",
      text: `Energies of generated images are ${formatNumber(distance)} standard deviations from those of real ones (${formatPercent(gap.overlap.coefficient)} overlap).`,
    });
  }
  if (quality) {
    const { frechet, precisionRecall, extractor, nearest } = quality;
    const copied = nearest.find(({ space }) => space === "pixels");
    const flattering = extractor.self
      ? " They are measured in the model's own features, which flatter it; --features names another model."
      : "";
    found.push({
      topic: "sample quality",
      grade: "note",
      text: `${frechet.name}: ${formatNumber(frechet.value)} (${formatNumber(frechet.floor)} between two sets of ${frechet.numFloor} real images). ${outOf100(precisionRecall.precision)} of 100 samples look real there, and ${outOf100(precisionRecall.recall)} of 100 real images are covered.${flattering}`,
    });
    if (copied) {
      found.push({
        topic: "copies",
        grade: copied.nearerThanTest > 0.1 ? "weak" : copied.nearerThanTest > 0.03 ? "fair" : "good",
        text: `${formatPercent(copied.nearerThanTest)} of the samples lie nearer to a training image than 99 % of test images do (nearest: ${formatNumber(copied.generatedSmallest)} against ${formatNumber(copied.testSmallest)} a pixel).`,
      });
    }
  }
  return found;
}

function outOf100(share: number): string {
  return String(Math.round(100 * share));
}
