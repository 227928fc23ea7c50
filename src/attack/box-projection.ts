/**
 * The nearest point of a hyperplane inside the unit box, as FAB needs it (Croce & Hein 2020, "Minimally distorted adversarial
 * examples with a fast adaptive boundary attack", section 2.2 and appendix A): the d of least norm with
 *
 *   w . (x + d) = b,   0 <= x + d <= 1
 *
 * solved exactly. Every coordinate moves against the sign of what must shrink, by min(t s_i, room_i), where room_i is its way to
 * the box's face and s_i = 1 in Linf, |w_i| in L2 (the optimality conditions). What is gained, g(t) = sum |w_i| min(t s_i, room_i),
 * is concave and piecewise linear, so Newton's steps from t = 0 rise to the root and reach it after finitely many: each one but
 * the last saturates another coordinate. No sorting, O(coordinates) a step.
 */
import type { Norm } from "./apgd.js";

export interface BoxProjection {
  /**
   * @param x the point [n], within [0,1]; `at` is where it begins.
   * @param w the normal [n]; `wAt` is where it begins.
   * @param excess w . x - b, signed.
   * @param d receives the step [n]. Where no point of the box lies on the hyperplane, the step to the box's nearest corner.
   * @returns the step's norm.
   */
  project(x: ArrayLike<number>, at: number, w: ArrayLike<number>, wAt: number, excess: number, d: Float64Array): number;
}

/** Holds scratch memory for points of `size` coordinates. */
export function createBoxProjection(norm: Norm, size: number): BoxProjection {
  const weight = new Float64Array(size); // |w_i|
  const room = new Float64Array(size);
  return {
    project(x, at, w, wAt, excess, d) {
      const sign = excess >= 0 ? 1 : -1;
      for (let i = 0; i < size; i++) {
        const wi = sign * (w[wAt + i] as number);
        weight[i] = Math.abs(wi);
        room[i] = wi > 0 ? (x[at + i] as number) : wi < 0 ? 1 - (x[at + i] as number) : 0;
      }
      const wanted = Math.abs(excess);
      const t = solve(norm, weight, room, wanted);
      let reached = 0;
      for (let i = 0; i < size; i++) {
        const wi = sign * (w[wAt + i] as number);
        const step = Math.min(norm === "linf" ? t : t * (weight[i] as number), room[i] as number);
        d[i] = wi > 0 ? -step : wi < 0 ? step : 0;
        reached = norm === "linf" ? Math.max(reached, wi === 0 ? 0 : step) : reached + (wi === 0 ? 0 : step * step);
      }
      return norm === "linf" ? reached : Math.sqrt(reached);
    },
  };
}

/** The t at which g(t) is what is wanted; infinite where even all room is too little. */
function solve(norm: Norm, weight: Float64Array, room: Float64Array, wanted: number): number {
  let t = 0;
  for (let round = 0; round <= weight.length; round++) {
    let gained = 0;
    let slope = 0;
    for (let i = 0; i < weight.length; i++) {
      const w = weight[i] as number;
      const s = norm === "linf" ? 1 : w;
      if (t * s < (room[i] as number)) {
        gained += w * s * t;
        slope += w * s;
      } else gained += w * (room[i] as number);
    }
    const missing = wanted - gained;
    if (!(missing > wanted * 1e-14)) return t;
    if (slope === 0) return Number.POSITIVE_INFINITY;
    t += missing / slope;
  }
  return t;
}
