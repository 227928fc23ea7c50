/** Independent uniform points of the unit cube (Bergstra & Bengio 2012), each a function of (seed, index) alone. */
import { draws } from "../../engine/random/philox.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import { pointAt, type Space } from "../space.js";
import type { Searcher } from "./searcher.js";

export function createRandom(space: Space, { seed }: { seed: bigint }): Searcher {
  return {
    propose(index) {
      const draw = draws({ seed, purpose: PURPOSE.sweep, step: 0, position: index });
      return pointAt(
        space,
        space.map(() => draw.uniform()),
      );
    },
  };
}
