/** Quantiles of samples. */
import { invariant } from "./error.js";

/** Of ascending values, with linear interpolation between them. */
export function quantile(ascending: ArrayLike<number>, share: number): number {
  invariant(ascending.length > 0, "a quantile of nothing");
  const at = share * (ascending.length - 1);
  const lower = Math.floor(at);
  const low = ascending[lower] as number;
  const high = ascending[Math.min(lower + 1, ascending.length - 1)] as number;
  return low + (at - lower) * (high - low);
}

export function sorted(values: ArrayLike<number>): Float64Array {
  return Float64Array.from(values).sort();
}
