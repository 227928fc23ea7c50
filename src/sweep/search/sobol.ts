/**
 * Points of the Sobol sequence: they fill the unit cube far more evenly than random ones. Direction numbers by Joe & Kuo
 * ("Constructing Sobol sequences with better two-dimensional projections", SIAM J. Sci. Comput. 2008, set D6), in Gray-code order
 * (Antonov & Saleev 1979). A digital shift keyed by the seed moves the points off the cube's corner without spoiling their evenness.
 */
import { draws } from "../../engine/random/philox.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import { IsoergError } from "../../util/error.js";
import { pointAt, type Space } from "../space.js";
import type { Searcher } from "./searcher.js";

const BITS = 32;

/** Of each dimension from the second on: degree and inner coefficients of its primitive polynomial, and its first odd numbers m. */
const JOE_KUO: readonly { readonly degree: number; readonly coefficients: number; readonly m: readonly number[] }[] = [
  { degree: 1, coefficients: 0, m: [1] },
  { degree: 2, coefficients: 1, m: [1, 3] },
  { degree: 3, coefficients: 1, m: [1, 3, 1] },
  { degree: 3, coefficients: 2, m: [1, 1, 1] },
  { degree: 4, coefficients: 1, m: [1, 1, 3, 3] },
  { degree: 4, coefficients: 4, m: [1, 3, 5, 13] },
  { degree: 5, coefficients: 2, m: [1, 1, 5, 5, 17] },
  { degree: 5, coefficients: 4, m: [1, 1, 5, 5, 5] },
  { degree: 5, coefficients: 7, m: [1, 1, 7, 11, 19] },
  { degree: 5, coefficients: 11, m: [1, 1, 5, 1, 1] },
  { degree: 5, coefficients: 13, m: [1, 1, 1, 3, 11] },
  { degree: 5, coefficients: 14, m: [1, 3, 5, 5, 31] },
  { degree: 6, coefficients: 1, m: [1, 3, 3, 9, 7, 49] },
  { degree: 6, coefficients: 13, m: [1, 1, 1, 15, 21, 21] },
  { degree: 6, coefficients: 16, m: [1, 3, 1, 13, 27, 49] },
  { degree: 6, coefficients: 19, m: [1, 1, 1, 15, 7, 5] },
  { degree: 6, coefficients: 22, m: [1, 3, 1, 15, 13, 25] },
  { degree: 6, coefficients: 25, m: [1, 1, 5, 5, 19, 61] },
  { degree: 7, coefficients: 1, m: [1, 3, 7, 11, 23, 15, 103] },
  { degree: 7, coefficients: 4, m: [1, 3, 7, 13, 13, 15, 69] },
];

export const MAX_SOBOL_DIMENSIONS = JOE_KUO.length + 1;

/** Point `index` of the sequence in [0,1)^d, its bits xored with `shift` [d]. Point 0 without a shift is the corner 0. */
export function sobolPoint(index: number, dimensions: number, shift: ArrayLike<number> = new Uint32Array(dimensions)): number[] {
  const gray = (index ^ (index >>> 1)) >>> 0;
  return Array.from({ length: dimensions }, (_, axis) => {
    const directions = directionsOf(axis);
    let bits = shift[axis] as number;
    for (let bit = 0; bit < BITS; bit++) if ((gray >>> bit) & 1) bits ^= directions[bit] as number;
    return (bits >>> 0) * 2 ** -BITS;
  });
}

/** v_k = m_k 2^(32-k), with m_k by the recurrence of the axis's primitive polynomial; the first axis is van der Corput's. */
function directionsOf(axis: number): Uint32Array {
  const v = new Uint32Array(BITS);
  const polynomial = axis === 0 ? undefined : JOE_KUO[axis - 1];
  for (let k = 0; k < BITS; k++) {
    if (!polynomial) {
      v[k] = 2 ** (BITS - 1 - k);
      continue;
    }
    const { degree, coefficients, m } = polynomial;
    if (k < degree) {
      v[k] = (m[k] as number) * 2 ** (BITS - 1 - k);
      continue;
    }
    let next = (v[k - degree] as number) ^ ((v[k - degree] as number) >>> degree);
    for (let i = 1; i < degree; i++) if ((coefficients >>> (degree - 1 - i)) & 1) next ^= v[k - i] as number;
    v[k] = next;
  }
  return v;
}

/** @throws IsoergError CONFIG for more settings than there are direction numbers. */
export function createSobol(space: Space, { seed }: { seed: bigint }): Searcher {
  if (space.length > MAX_SOBOL_DIMENSIONS) {
    throw new IsoergError("CONFIG", `a Sobol sequence for ${space.length} settings; there are ${MAX_SOBOL_DIMENSIONS} dimensions`, {
      hint: "take `search: {kind: random}`, or sweep fewer settings at once",
    });
  }
  const draw = draws({ seed, purpose: PURPOSE.sweep, step: 1, position: 0 });
  const shift = Uint32Array.from(space, () => draw.uint32());
  return { propose: (index) => pointAt(space, sobolPoint(index, space.length, shift)) };
}
