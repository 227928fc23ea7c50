/** `isoerg analyze` on a run, an export and a TensorFlow.js model that was never trained here; what it writes and what it refuses. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { PNG } from "pngjs";
import { describe, expect, it } from "vitest";
import { analyzeCommand } from "../../src/cli/analyze.js";
import { type Analysis, readAnalysis } from "../../src/evaluate/analysis/analysis.js";
import { energyGap } from "../../src/evaluate/figures/energy-gap.js";
import { readReference } from "../../src/evaluate/monitor/reference.js";
import { preparedToy } from "../data/toy.js";
import { call, withPrinted, withTrainedRun } from "../kit/command.js";
import { analyzeKeras } from "./kit.js";

const place = withTrainedRun("analyze", { numTest: 40 });
const printed = withPrinted();

const analysisAt = async (path: string): Promise<Analysis> => (await readAnalysis(path)) as Analysis;

describe("isoerg analyze", () => {
  it("leaves an analysis in the run whose figures follow from its energies, and a reference", async () => {
    const other = await preparedToy();
    await call(analyzeCommand(), place.run, "--samples", "24", "--ood", other);
    const analysis = await analysisAt(join(place.run, "analysis.json"));
    expect(analysis.model).toMatchObject({ kind: "run", name: "small", weights: "averaged", logits: "output" });
    expect(analysis.sets.map(({ name }) => name)).toEqual([
      "test",
      "train",
      "PGD-3, cross-entropy",
      "PGD-3, energy",
      "generated",
      "buffer",
      "uniform noise",
      "gaussian noise",
      "interpolations",
      "toy",
    ]);
    expect(analysis.sets.at(-1)?.description).toBe("10 test samples of toy, resized from 4x5 to 8x8");
    const [clean, ...rest] = analysis.sets as [Analysis["sets"][number], ...Analysis["sets"]];
    for (const set of rest) {
      for (const energy of ["marginal", "joint"] as const) {
        const again = energyGap(clean[energy].energies, set[energy].energies, { paired: set.kind === "adversarial" });
        expect(set[energy].gap).toEqual(again);
      }
      const { counts, below, above } = set.marginal.histogram;
      expect(counts.reduce((sum, n) => sum + n, below + above)).toBe(set.numSamples);
      expect(set.perClass.reduce((sum, { count }) => sum + count, 0)).toBe(set.numSamples);
    }
    for (const attack of analysis.attacks) expect(attack.largestDistance).toBeLessThanOrEqual(8 / 255 + 1e-6);
    expect(analysis.detection.find(({ set }) => set === "toy")).toMatchObject({ energy: { numKnown: 24, numOther: 10 } });
    expect(analysis.calibration).toMatchObject({ numFit: 12, before: { numSamples: 12, numBins: 15 } });
    expect(analysis.quality).toMatchObject({
      images: "fresh chains",
      chainSteps: 5,
      numGenerated: 12,
      extractor: { name: "small", self: true, inception: false, numFeatures: 8 },
    });
    expect(analysis.quality?.frechet.name).toBe("Fréchet distance in the features of small");
    expect(analysis.quality?.nearest.map(({ numTrain }) => numTrain)).toEqual([64, 64]);
    expect(printed.text()).toMatch(/(good|fair|WEAK) +robustness/);
    expect(printed.text()).toMatch(/uniform noise +.*[▁█]/);

    const reference = await readReference(join(place.run, "energy-reference.json"));
    expect(reference.model.fingerprint).toBe(analysis.model.fingerprint);
    expect(reference.energies).toEqual([...clean.marginal.energies].sort((a, b) => a - b));
    expect(reference.predictedShares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
  });

  it("gives the same figures whatever the batch, and writes nothing where it is told to", async () => {
    const before = readdirSync(place.run);
    const [a, b] = [join(place.folder, "a.json"), join(place.folder, "b.json")];
    const rest = ["--samples", "20", "--no-save", "--generated", "0"];
    await call(analyzeCommand(), place.run, ...rest, "--json", a, "--batch-size", "7");
    await call(analyzeCommand(), place.run, ...rest, "--json", b);
    expect(readdirSync(place.run)).toEqual(before);
    const [one, two] = [await analysisAt(a), await analysisAt(b)];
    for (const [i, set] of one.sets.entries()) {
      for (const [j, energy] of set.marginal.energies.entries()) expect(energy).toBeCloseTo(two.sets[i]?.marginal.energies[j] as number, 4);
    }
    expect(one.quality?.images).toBe("replay buffer");
  });

  it("sees a model that was never trained here, and judges a run's samples by its features", async () => {
    const json = join(place.folder, "keras.json");
    const reference = join(place.folder, "ref.json");
    const model = await analyzeKeras(place, { ending: "softmax" }, "--samples", "30", "--json", json, "--reference", reference);
    const analysis = await analysisAt(json);
    expect(analysis.model).toMatchObject({ kind: "layers-model", name: "keras", step: null, logits: "before-softmax", numParameters: 220 });
    expect(analysis.sets.some(({ kind }) => kind === "generated")).toBe(false);
    expect(analysis.quality).toBeNull();
    expect(analysis.attacks[0]).toMatchObject({ steps: 20, eps: 8 / 255 });
    expect(printed.text()).toContain("logits are those before its softmax");
    expect((await readReference(reference)).energies).toHaveLength(30);

    await call(
      analyzeCommand(),
      place.run,
      "--samples",
      "20",
      "--no-save",
      "--features",
      model,
      "--json",
      json,
      "--no-attack",
      "--no-gradient",
    );
    const judged = await analysisAt(json);
    expect(judged.quality?.extractor).toMatchObject({ name: "keras", self: false, numFeatures: 7 });
    expect(judged.detection.every(({ inputGradient }) => inputGradient === null)).toBe(true);
    expect(judged.attacks).toEqual([]);
  });

  it("explains one decision as a picture", async () => {
    const out = join(place.folder, "why.png");
    await call(analyzeCommand(), place.run, "--explain", "3", "--out", out);
    const png = PNG.sync.read(readFileSync(out));
    expect(png.width).toBe(3 * 256 + 4 * 8);
    expect(printed.text()).toMatch(/test sample 3, labelled (red|green|blue): the model says/);
    expect(existsSync(out)).toBe(true);
  });

  it.each([
    [["nowhere"], "USAGE", "there is no nowhere"],
    [["DATA"], "USAGE", "neither a run"],
    [["RUN", "--explain", "3"], "USAGE", "--explain and --out go together"],
    [["RUN", "--explain", "400", "--out", "x.png"], "USAGE", "samples 0 to 39"],
    [["RUN", "--input-range", "0,255"], "USAGE", "are for TensorFlow.js models"],
    [["RUN", "--data", "none"], "DATA", "none"],
  ])("refuses %j", async (args, code, message) => {
    const words = args.map((arg) => arg.replace("RUN", place.run).replace("DATA", place.data));
    await expect(call(analyzeCommand(), ...words)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });
});
