/**
 * Group normalisation and its gradient as loops over the wasm heap: TensorFlow.js's wasm backend copies a tensor into another
 * order of axes before it takes a mean over groups, which costs more than all the arithmetic here. Sums are in float64.
 * The formulas are those of `../portable/group-norm.ts`.
 */

import type { Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { EngineOps } from "../ops.js";
import { channelNorm, channelNormGrad } from "./channel-norm.js";
import { heapView, uninitialised } from "./heap.js";

type Shape4D = readonly [number, number, number, number];

/** Calls `each` with the first index of every run of C/groups neighbouring values, and the group [b, g] that the run belongs to. */
function eachRun([batch, height, width, channels]: Shape4D, groups: number, each: (start: number, group: number, channel: number) => void) {
  const perGroup = channels / groups;
  let start = 0;
  for (let sample = 0; sample < batch; sample++) {
    for (let pixel = 0; pixel < height * width; pixel++) {
      for (let group = 0; group < groups; group++) {
        each(start, sample * groups + group, group * perGroup);
        start += perGroup;
      }
    }
  }
}

export const groupNormalisation: Pick<EngineOps, "groupNorm" | "groupNormGrad"> = {
  groupNorm(x, gamma, beta, groups, epsilon) {
    const [batch, height, width, channels] = x.shape;
    const perGroup = channels / groups;
    const size = height * width * perGroup;
    const y = uninitialised(x.shape);
    const [from, to, scale, shift] = [heapView(x), heapView(y), heapView(gamma), heapView(beta)];
    const statistics: [number, number] = [batch, groups];
    if (perGroup === 1) {
      const { mean, rstd } = channelNorm({ batch, pixels: size, channels }, from, { gamma: scale, beta: shift }, epsilon, to);
      return { y, mean: tf.tensor2d(Float32Array.from(mean), statistics), rstd: tf.tensor2d(Float32Array.from(rstd), statistics) };
    }

    const mean = new Float64Array(batch * groups);
    eachRun(x.shape, groups, (start, group) => {
      let sum = 0;
      for (let i = start; i < start + perGroup; i++) sum += from[i] as number;
      mean[group] = (mean[group] as number) + sum / size;
    });
    const variance = new Float64Array(batch * groups);
    eachRun(x.shape, groups, (start, group) => {
      const centre = mean[group] as number;
      let sum = 0;
      for (let i = start; i < start + perGroup; i++) sum += ((from[i] as number) - centre) ** 2;
      variance[group] = (variance[group] as number) + sum / size;
    });
    const rstd = variance.map((v) => 1 / Math.sqrt(v + epsilon));
    eachRun(x.shape, groups, (start, group, channel) => {
      const [centre, r] = [mean[group] as number, rstd[group] as number];
      for (let i = 0; i < perGroup; i++) {
        to[start + i] = ((from[start + i] as number) - centre) * r * (scale[channel + i] as number) + (shift[channel + i] as number);
      }
    });
    return { y, mean: tf.tensor2d(Float32Array.from(mean), statistics), rstd: tf.tensor2d(Float32Array.from(rstd), statistics) };
  },

  groupNormGrad(dy, x, mean, rstd, gamma, groups, want) {
    const [batch, height, width, channels] = x.shape;
    const perGroup = channels / groups;
    const size = height * width * perGroup;
    const dx: Tensor4D = uninitialised(x.shape);
    const [input, gradient, to, scale] = [heapView(x), heapView(dy), heapView(dx), heapView(gamma)];
    const [centres, rstds] = [heapView(mean), heapView(rstd)];
    const vector = (values: Float64Array): Tensor1D => tf.tensor1d(Float32Array.from(values));
    if (perGroup === 1) {
      const given = { x: input, dy: gradient, mean: centres, rstd: rstds, gamma: scale };
      const sums = channelNormGrad({ batch, pixels: size, channels }, given, to);
      return want === "input" ? { dx, dgamma: null, dbeta: null } : { dx, dgamma: vector(sums.dgamma), dbeta: vector(sums.dbeta) };
    }

    const meanG = new Float64Array(batch * groups); // mean(g), g = dy gamma
    const meanGx = new Float64Array(batch * groups); // mean(g xhat)
    const dgamma = new Float64Array(channels);
    const dbeta = new Float64Array(channels);
    eachRun(x.shape, groups, (start, group, channel) => {
      const [centre, r] = [centres[group] as number, rstds[group] as number];
      let [sumG, sumGx] = [0, 0];
      for (let i = 0; i < perGroup; i++) {
        const d = gradient[start + i] as number;
        const xhat = ((input[start + i] as number) - centre) * r;
        sumG += d * (scale[channel + i] as number);
        sumGx += d * xhat * (scale[channel + i] as number);
        dgamma[channel + i] = (dgamma[channel + i] as number) + d * xhat;
        dbeta[channel + i] = (dbeta[channel + i] as number) + d;
      }
      meanG[group] = (meanG[group] as number) + sumG / size;
      meanGx[group] = (meanGx[group] as number) + sumGx / size;
    });
    eachRun(x.shape, groups, (start, group, channel) => {
      const [centre, r, a, b] = [centres[group] as number, rstds[group] as number, meanG[group] as number, meanGx[group] as number];
      for (let i = 0; i < perGroup; i++) {
        const xhat = ((input[start + i] as number) - centre) * r;
        to[start + i] = r * ((gradient[start + i] as number) * (scale[channel + i] as number) - a - xhat * b);
      }
    });
    if (want === "input") return { dx, dgamma: null, dbeta: null };
    return { dx, dgamma: vector(dgamma), dbeta: vector(dbeta) };
  },
};
