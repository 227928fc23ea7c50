/**
 * Normalisation with a channel in each group, as loops over the wasm heap: what batch normalisation over groups of samples comes to
 * (`../../model/layers/ghost-batch-norm.ts`). A pixel's channels are neighbours, so each loop runs along them; `group-norm.ts`, which
 * runs along a group's, would make a call for every single value. Same formulas, sums in float64 too.
 */

/** Images [B,H,W,C] of so many pixels each, flat. */
export interface ChannelShape {
  readonly batch: number;
  readonly pixels: number;
  readonly channels: number;
}

interface Affine {
  readonly gamma: Float32Array;
  readonly beta: Float32Array;
}

/** Writes y; returns mean and rstd [B,C]. */
export function channelNorm(
  { batch, pixels, channels }: ChannelShape,
  x: Float32Array,
  { gamma, beta }: Affine,
  epsilon: number,
  y: Float32Array,
): { mean: Float64Array; rstd: Float64Array } {
  const mean = new Float64Array(batch * channels);
  const rstd = new Float64Array(batch * channels);
  const scale = new Float64Array(channels);
  for (let image = 0; image < batch; image++) {
    const [begin, end] = [image * pixels * channels, (image + 1) * pixels * channels];
    const centres = mean.subarray(image * channels, (image + 1) * channels);
    const spreads = rstd.subarray(image * channels, (image + 1) * channels);
    for (let start = begin; start < end; start += channels)
      for (let c = 0; c < channels; c++) centres[c] = (centres[c] as number) + (x[start + c] as number);
    for (let c = 0; c < channels; c++) centres[c] = (centres[c] as number) / pixels;
    for (let start = begin; start < end; start += channels)
      for (let c = 0; c < channels; c++) {
        const d = (x[start + c] as number) - (centres[c] as number);
        spreads[c] = (spreads[c] as number) + d * d;
      }
    for (let c = 0; c < channels; c++) {
      spreads[c] = 1 / Math.sqrt((spreads[c] as number) / pixels + epsilon);
      scale[c] = (spreads[c] as number) * (gamma[c] as number);
    }
    for (let start = begin; start < end; start += channels)
      for (let c = 0; c < channels; c++)
        y[start + c] = ((x[start + c] as number) - (centres[c] as number)) * (scale[c] as number) + (beta[c] as number);
  }
  return { mean, rstd };
}

/** Writes dx; returns the parameters' gradients [C]. */
export function channelNormGrad(
  { batch, pixels, channels }: ChannelShape,
  given: Readonly<Record<"x" | "dy" | "mean" | "rstd" | "gamma", Float32Array>>,
  dx: Float32Array,
): { dgamma: Float64Array; dbeta: Float64Array } {
  const { x, dy, gamma } = given;
  const dgamma = new Float64Array(channels);
  const dbeta = new Float64Array(channels);
  const sum = new Float64Array(channels);
  const sumX = new Float64Array(channels);
  const scale = new Float64Array(channels);
  for (let image = 0; image < batch; image++) {
    const [begin, end] = [image * pixels * channels, (image + 1) * pixels * channels];
    const mean = given.mean.subarray(image * channels, (image + 1) * channels);
    const rstd = given.rstd.subarray(image * channels, (image + 1) * channels);
    sum.fill(0);
    sumX.fill(0);
    for (let start = begin; start < end; start += channels)
      for (let c = 0; c < channels; c++) {
        const d = dy[start + c] as number;
        sum[c] = (sum[c] as number) + d;
        sumX[c] = (sumX[c] as number) + d * ((x[start + c] as number) - (mean[c] as number)) * (rstd[c] as number);
      }
    for (let c = 0; c < channels; c++) {
      dbeta[c] = (dbeta[c] as number) + (sum[c] as number);
      dgamma[c] = (dgamma[c] as number) + (sumX[c] as number);
      // dx = gamma rstd (dy - mean(dy) - xhat mean(dy xhat)), the means over the image's pixels
      sum[c] = (sum[c] as number) / pixels;
      sumX[c] = ((sumX[c] as number) * (rstd[c] as number)) / pixels;
      scale[c] = (gamma[c] as number) * (rstd[c] as number);
    }
    for (let start = begin; start < end; start += channels)
      for (let c = 0; c < channels; c++) {
        const centred = (x[start + c] as number) - (mean[c] as number);
        dx[start + c] = (scale[c] as number) * ((dy[start + c] as number) - (sum[c] as number) - centred * (sumX[c] as number));
      }
  }
  return { dgamma, dbeta };
}
