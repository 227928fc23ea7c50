/** This step's chains, advanced by the sampler; absent from steps without generative terms. */
import { PURPOSE } from "../../engine/random/purpose.js";
import { advanceChains } from "../../sampler/sgld.js";
import { imagesToTensor, type ViewMaker } from "./maker.js";

export const generated: ViewMaker = {
  provides: ["generated"],
  phase: "sample",
  make({ chains, config, inner, seed, shape, step }) {
    if (!chains) return null;
    const { images, positions } = chains;
    const start = imagesToTensor(images, shape);
    const key = { seed, purpose: PURPOSE.chainNoise, step, positions };
    const { sampler } = config;
    const x = positions.length === 0 ? start : advanceChains(start, { model: inner, config: sampler, steps: sampler.steps, key });
    return { views: { generated: { x, total: sampler.chains } } };
  },
};
