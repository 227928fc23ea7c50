/** This step's chains, advanced by the sampler; absent from steps without generative terms. */
import { PURPOSE } from "../../engine/random/purpose.js";
import { jointEnergyHead, targetsOf } from "../../model/heads.js";
import { advanceChains } from "../../sampler/sgld.js";
import { chainSignals, watchGradients } from "../guard/signals.js";
import { byChunks } from "../micro-batch.js";
import { imagesToTensor, type ViewMaker } from "./maker.js";

export const generated: ViewMaker = {
  provides: ["generated"],
  phase: "sample",
  make({ chains, chainSteps, clean, config, numClasses, sampling, seed, shape, step }) {
    if (!chains) return null;
    const { images, labels, positions } = chains;
    const { sampler } = config;
    const start = imagesToTensor(images, shape);
    const watched = watchGradients(sampling);
    const steps = chainSteps ?? sampler.steps;
    let normSum = 0;
    const signalsOf = (advanced: Float32Array) => {
      const size = shape[0] * shape[1] * shape[2];
      return chainSignals({ taken: chains, advanced, gradientNormSum: steps > 0 ? normSum : null, total: sampler.chains, size }, clean);
    };
    if (positions.length === 0) return { views: { generated: { x: start, total: sampler.chains } }, figures: signalsOf(images) };
    const x = byChunks(start, config.memory.microBatch, (chunk, { from, to }) => {
      const key = { seed, purpose: PURPOSE.chainNoise, step, positions: positions.subarray(from, to) };
      const targets = labels && targetsOf(labels.subarray(from, to), numClasses);
      const energy = targets && { energy: jointEnergyHead(targets) };
      const advanced = advanceChains(chunk.clone(), { model: watched.model, config: sampler, steps, key, ...energy });
      normSum += watched.takeNormSum();
      targets?.dispose();
      return advanced;
    });
    start.dispose();
    return { views: { generated: { x, total: sampler.chains } }, figures: signalsOf(x.dataSync<"float32">() as Float32Array) };
  },
};
