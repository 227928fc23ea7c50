/** What the training attack makes of each clean sample, and now and then a look whether it still means anything. */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import { createAttack } from "../../attack/attack.js";
import { looksForOverfitting, overfittingFigures } from "../../attack/overfitting.js";
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
    const attack = createAttack(config.attack);
    const perturb = (chunk: Tensor4D, { from, to }: Range): Tensor4D => {
      const key = { seed, purpose: PURPOSE.attackStart, step, positions: positions.subarray(from, to) };
      // The step moves these on itself, between its passes.
      if (attack.kind === "replay") return attack.replay.begin(chunk, key);
      return attack.craft({ model: inner, x: chunk, labels: labels.subarray(from, to), numClasses, config: config.attack, key });
    };
    const attacked = labels.length === 0 ? x.clone() : byChunks(x, config.memory.microBatch, perturb);
    const figures = looksForOverfitting(config.attack, step)
      ? overfittingFigures({ model: inner, x, labels, positions, total, numClasses, config: config.attack, seed, step })
      : {};
    return { views: { adversarial: { x: attacked, total } }, figures };
  },
};
