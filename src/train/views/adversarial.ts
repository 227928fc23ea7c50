/** What the training attack makes of each clean sample. */
import { pgd } from "../../attack/pgd.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import { type ViewMaker, viewMade } from "./maker.js";

export const adversarial: ViewMaker = {
  provides: ["adversarial"],
  phase: "attack",
  make({ clean, config, inner, numClasses, seed, step }, made) {
    const { labels, positions, total } = clean;
    const x = viewMade(made, "clean").x;
    const key = { seed, purpose: PURPOSE.attackStart, step, positions };
    const attacked = labels.length === 0 ? x.clone() : pgd({ model: inner, x, labels, numClasses, config: config.attack, key });
    return { views: { adversarial: { x: attacked, total } } };
  },
};
