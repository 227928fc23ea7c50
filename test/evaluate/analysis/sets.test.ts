/** Sets of an analysis against hand computations, and what its verdict says about them. */
import { describe, expect, it } from "vitest";
import type { Analysis } from "../../../src/evaluate/analysis/analysis.js";
import { describeSets, type SetInput } from "../../../src/evaluate/analysis/sets.js";
import { verdictOf } from "../../../src/evaluate/analysis/verdict.js";
import { calibration } from "../../../src/evaluate/calibration/calibration.js";
import { detection } from "../../../src/evaluate/ood/detection.js";

const classes = ["left", "right"];
const set = (name: string, kind: SetInput["kind"], rows: number[][], labels: number[] | null, paired = false): SetInput => ({
  name,
  kind,
  description: name,
  logits: Float32Array.from(rows.flat()),
  labels: labels && Int32Array.from(labels),
  paired,
});

/** E = -(a + log 2) for logits (a, a). */
const flat = (a: number): number[] => [a, a];

describe("sets", () => {
  const clean = set("test", "clean", [flat(1), flat(2), [3, 0], [0, 4]], [0, 1, 0, 1]);

  it("have the energies, gaps and classes of a hand computation", () => {
    const attacked = set("PGD", "adversarial", [flat(2), flat(3), [0, 3], [5, 0]], [0, 1, 0, 1], true);
    const [test, adversarial] = describeSets([clean, attacked], classes);
    expect(test?.marginal.energies[0]).toBeCloseTo(-(1 + Math.LN2), 6);
    expect(test?.marginal.gap).toBeNull();
    expect(test?.accuracy).toMatchObject({ correct: 3, total: 4 }); // of equal logits the first counts: sample 1 is wrong
    expect(test?.joint.energies).toEqual([-1, -2, -3, -4]);
    expect(adversarial?.accuracy?.correct).toBe(1);
    const e = (rows: number[][]) => rows.map(([a, b]) => -Math.log(Math.exp(a as number) + Math.exp(b as number)));
    const [ours, theirs] = [e([flat(1), flat(2), [3, 0], [0, 4]]), e([flat(2), flat(3), [0, 3], [5, 0]])] as [number[], number[]];
    const mean = (values: number[]) => values.reduce((sum, v) => sum + v, 0) / values.length;
    expect(adversarial?.marginal.gap?.signedMean).toBeCloseTo(mean(theirs) - mean(ours), 6);
    expect(adversarial?.marginal.gap?.meanAbsolute).toBeCloseTo(mean(theirs.map((v, i) => Math.abs(v - (ours[i] as number)))), 6);
    expect(adversarial?.perClass.map(({ count }) => count)).toEqual([2, 2]);
    expect(adversarial?.perClass[0]?.signedMean).toBeCloseTo(
      mean([theirs[0], theirs[2]] as number[]) - mean([ours[0], ours[2]] as number[]),
      6,
    );
    expect(test?.marginal.histogram.numBins).toBe(adversarial?.marginal.histogram.numBins);
    expect(test?.marginal.histogram.from).toBe(adversarial?.marginal.histogram.from);
  });

  it("without labels are sorted by the model's decision", () => {
    const [, noise] = describeSets(
      [
        clean,
        set(
          "noise",
          "noise",
          [
            [0, 1],
            [0, 2],
            [3, 0],
          ],
          null,
        ),
      ],
      classes,
    );
    expect(noise).toMatchObject({ labels: "predicted", accuracy: null });
    expect(noise?.perClass.map(({ count }) => count)).toEqual([1, 2]);
    expect(noise?.joint.energies).toEqual([-1, -2, -3]);
  });

  it("with energies that are no numbers are refused by name", () => {
    expect(() => describeSets([clean, set("bad", "noise", [[Number.NaN, 0]], null)], classes)).toThrow(/sample 0 of 'bad' is NaN/);
  });
});

describe("a verdict", () => {
  function analysisOf(inputs: SetInput[], eps = 8 / 255): Omit<Analysis, "verdict"> {
    const sets = describeSets(inputs, classes);
    const logits = inputs[0]?.logits as Float32Array;
    const labels = inputs[0]?.labels as Int32Array;
    const energy = (i: number) => (sets[i] as (typeof sets)[number]).marginal.energies.map((e) => -e);
    return {
      format: "isoerg-analysis",
      version: 1,
      model: { kind: "run", name: "m", step: 1, weights: "last", logits: "output", numParameters: 1, fingerprint: "f" },
      data: { name: "d", digest: "x", shape: { height: 1, width: 1, channels: 1 }, classes, numTest: 4, numTrain: 4 },
      engine: { name: "cpu", version: "1", device: "cpu" },
      analyzedAt: "2026-01-01T00:00:00.000Z",
      isoergVersion: "0",
      seed: 1,
      settings: { samples: 4, input: {} },
      sets,
      attacks: sets
        .filter(({ kind }) => kind === "adversarial")
        .map(({ name }) => ({
          set: name,
          norm: "linf",
          eps,
          steps: 20,
          stepSize: 0.01,
          start: "uniform",
          target: "cross-entropy",
          restarts: 1,
          largestDistance: eps,
        })),
      detection: sets.flatMap(({ name }, i) =>
        i === 0
          ? []
          : [{ set: name, energy: detection(energy(0), energy(i)), maxProbability: detection(energy(0), energy(i)), inputGradient: null }],
      ),
      calibration: { numFit: 2, temperature: 1, before: calibration(logits, labels, 2), after: calibration(logits, labels, 2) },
      quality: null,
    };
  }
  const rows = (a: number, n = 40) => Array.from({ length: n }, (_, i) => [a + i / 100, 0]);
  const zeros = (n = 40) => Array.from({ length: n }, () => 0);
  const find = (topic: string, inputs: SetInput[]) => verdictOf(analysisOf(inputs)).find((finding) => finding.topic === topic);
  const clean = set("test", "clean", rows(4), zeros());

  it("calls a model weak that an attack turns, and says what the attack may change", () => {
    const finding = find("robustness", [clean, set("PGD-20", "adversarial", rows(-9), zeros(), true)]);
    expect(finding).toMatchObject({ grade: "weak", text: expect.stringMatching(/100 of 100 .* at most 8\/255 .* 0 are/) });
    expect(find("robustness", [clean, set("PGD-20", "adversarial", rows(4), zeros(), true)])?.grade).toBe("good");
  });

  it("suspects how a model is fed where it only guesses", () => {
    const guessing = set(
      "test",
      "clean",
      rows(4),
      Array.from({ length: 40 }, (_, i) => i % 2),
    );
    expect(find("accuracy", [guessing])).toMatchObject({
      grade: "weak",
      text: expect.stringMatching(/50 of 100 .* guessing \(50\).* range of its input/),
    });
  });

  it("tells a gap of energies and its direction", () => {
    expect(find("energy gap", [clean, set("PGD-20", "adversarial", rows(1), zeros(), true)])).toMatchObject({
      grade: "weak",
      text: expect.stringContaining("higher"),
    });
    expect(find("energy gap", [clean, set("PGD-20", "adversarial", rows(9), zeros(), true)])?.text).toContain("lower");
    expect(find("energy gap", [clean, set("PGD-20", "adversarial", rows(4), zeros(), true)])?.grade).toBe("good");
  });

  it("says which unknown images are noticed, which are not, and which are preferred", () => {
    const unknown = (a: number) => find("unknown images", [clean, set("noise", "noise", rows(a), null)]);
    expect(unknown(0)).toMatchObject({ grade: "good", text: "By its energy the model tells clean images from noise (AUROC 1.00)." });
    expect(unknown(4)).toMatchObject({ grade: "weak", text: expect.stringContaining("does not notice noise (AUROC 0.50)") });
    expect(unknown(9)).toMatchObject({ grade: "weak", text: expect.stringContaining("more typical than the data themselves") });
  });

  it("says that no attack was tried", () => {
    expect(find("accuracy", [clean])?.text).toContain("No attack was tried");
  });
});
