/** What the training attack makes of each clean sample. */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import { pgd } from "../../attack/pgd.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import type { Range } from "../../util/range.js";
import { byChunks } from "../micro-batch.js";
import { type ViewMaker, viewMade } from "./maker.js";

export const adversarial: ViewMaker = {
  provides: ["adversarial"],
  phase: "attack",
  make({ clean, config, inner, numClasses, seed, step }, made) {
    const { labels, positions, total } = clean;
    const x = viewMade(made, "clean").x;
    const attack = (chunk: Tensor4D, { from, to }: Range): Tensor4D => {
      const key = { seed, purpose: PURPOSE.attackStart, step, positions: positions.subarray(from, to) };
      return pgd({ model: inner, x: chunk, labels: labels.subarray(from, to), numClasses, config: config.attack, key });
    };
    const attacked = labels.length === 0 ? x.clone() : byChunks(x, config.memory.microBatch, attack);
    return { views: { adversarial: { x: attacked, total } } };
  },
};
