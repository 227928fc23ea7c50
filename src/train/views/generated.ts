/** This step's chains, advanced by the sampler; absent from steps without generative terms. */
import { PURPOSE } from "../../engine/random/purpose.js";
import { advanceChains } from "../../sampler/sgld.js";
import { byChunks } from "../micro-batch.js";
import { imagesToTensor, type ViewMaker } from "./maker.js";

export const generated: ViewMaker = {
  provides: ["generated"],
  phase: "sample",
  make({ chains, config, inner, seed, shape, step }) {
    if (!chains) return null;
    const { images, positions } = chains;
    const { sampler } = config;
    const start = imagesToTensor(images, shape);
    if (positions.length === 0) return { views: { generated: { x: start, total: sampler.chains } } };
    const x = byChunks(start, config.memory.microBatch, (chunk, { from, to }) => {
      const key = { seed, purpose: PURPOSE.chainNoise, step, positions: positions.subarray(from, to) };
      return advanceChains(chunk.clone(), { model: inner, config: sampler, steps: sampler.steps, key });
    });
    start.dispose();
    return { views: { generated: { x, total: sampler.chains } } };
  },
};
