/** How far two arrays are apart, in the scale of the second: max |a - b| / max |b|. NaN where either has one. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`${a.length} values against ${b.length}`);
  let difference = 0;
  let scale = 0;
  for (let i = 0; i < b.length; i++) {
    const distance = Math.abs((a[i] as number) - (b[i] as number));
    if (Number.isNaN(distance)) return Number.NaN;
    difference = Math.max(difference, distance);
    scale = Math.max(scale, Math.abs(b[i] as number));
  }
  return difference === 0 ? 0 : difference / scale;
}

/** |a - b| / |b| in the L2 norm. */
export function relativeDistance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`${a.length} values against ${b.length}`);
  let difference = 0;
  let scale = 0;
  for (let i = 0; i < b.length; i++) {
    difference += ((a[i] as number) - (b[i] as number)) ** 2;
    scale += (b[i] as number) ** 2;
  }
  return difference === 0 ? 0 : Math.sqrt(difference / scale);
}
