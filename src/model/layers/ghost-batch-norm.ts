/**
 * Batch normalisation over groups of a fixed number of samples (Ioffe & Szegedy 2015; "ghost batch normalisation", Hoffer, Hubara
 * & Soudry 2017), so that what a sample becomes does not depend on how its batch was cut over workers.
 *
 *   y = gamma (x - m) / sqrt(v + epsilon) + beta      m, v of each channel, over the pixels of a group's samples, v biased
 *   running <- running - momentum (running - batch)   in an update; batch = the groups' mean, with unbiased variances
 *
 * as torch.nn.BatchNorm2d does with one group. Which statistics a pass takes is the pass's to say (`Kept.statistics`). The running ones
 * are entries of the flat parameter vector; where others have a gradient, they have this worker's share of momentum (running - batch), so
 * the sum over workers, the chunks' sum and the checkpoint serve them as well.
 *
 * A group of G images [H,W,C] is one image [G H,W,C] in memory: group normalisation with a channel in each group is then what is
 * wanted, forward and backward, and every engine has that.
 */
import type { Tensor, Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { ops, type Precision } from "../../engine/ops.js";
import { invariant } from "../../util/error.js";
import { type GroupRun, groupRuns } from "../group-statistics.js";
import type { Kept } from "../kept.js";
import type { BoundLayer, BoundParameter, LayerBuilder, Wanted } from "../layer.js";
import { numValues } from "../pass-memory.js";

/** As in PyTorch. */
const EPSILON = 1e-5;

export function ghostBatchNorm(groupSize: number): LayerBuilder {
  return (inputShape) => {
    const channels = inputShape.at(-1) as number;
    const size = numValues(inputShape);
    const vector = { shape: [channels], decay: false };
    return {
      parameters: [
        { ...vector, name: "weight", initial: { kind: "constant", value: 1 } },
        { ...vector, name: "bias", initial: { kind: "constant", value: 0 } },
        { ...vector, name: "running_mean", initial: { kind: "constant", value: 0 }, statistic: true },
        { ...vector, name: "running_var", initial: { kind: "constant", value: 1 }, statistic: true },
      ],
      outputShape: inputShape,
      macsPerSample: 0,
      memory: [{ input: size, output: size, keptForInput: size + (2 * channels) / groupSize, keptForParameters: 0 }],
      bind([weight, bias, mean, variance], precision) {
        invariant(weight && bias && mean && variance, "a batch norm has a weight, a bias and two running statistics");
        const parameters = { weight, bias, mean, variance };
        const running = new RunningPass(parameters, precision);
        const grouped = new GroupedPass(parameters, groupSize);
        const passOf = ({ statistics }: Kept): Pass => (statistics === "running" ? running : grouped);
        return {
          forward: (x, kept) => passOf(kept).forward(x as Tensor4D, kept),
          backward: (dy, kept, wanted) => passOf(kept).backward(dy as Tensor4D, kept, wanted),
          dispose() {
            running.dispose();
            for (const { value } of Object.values(parameters)) value.dispose();
          },
        };
      },
    };
  };
}

type Parameters = Readonly<Record<"weight" | "bias" | "mean" | "variance", BoundParameter>>;
type Pass = Pick<BoundLayer, "forward" | "backward">;

/** With the running statistics: a scale and a shift of each channel. */
class RunningPass implements Pass {
  readonly #parameters: Parameters;
  readonly #precision: Precision;
  /** Made at the first pass, and then the same for all: y = x scale + shift, xhat = x rstd + offset. */
  #factors: Record<"scale" | "shift" | "rstd" | "offset", Tensor> | undefined;

  constructor(parameters: Parameters, precision: Precision) {
    this.#parameters = parameters;
    this.#precision = precision;
  }

  forward(x: Tensor, kept: Kept): Tensor {
    const { scale, shift } = this.#made();
    const y = this.#cast(tf.tidy(() => tf.add(tf.mul(x, scale), shift)));
    kept.forParameters(x);
    return y;
  }

  backward(dy: Tensor, kept: Kept, { sink, input }: Wanted): Tensor | null {
    const { scale, rstd, offset } = this.#made();
    if (kept.purpose === "update") {
      const x = kept.take();
      if (sink) {
        const { weight, bias, mean, variance } = this.#parameters;
        const g = ops().toPrecision(dy, "fp32");
        const dgamma = tf.tidy(() => sumOverPixels(tf.mul(g, tf.add(tf.mul(x, rstd), offset))));
        sink.write(variance, tf.zerosLike(variance.value));
        sink.write(mean, tf.zerosLike(mean.value));
        sink.write(bias, sumOverPixels(g));
        sink.write(weight, dgamma);
        g.dispose();
      }
      x.dispose();
    }
    const dx = input ? this.#cast(tf.mul(dy, scale)) : null;
    dy.dispose();
    return dx;
  }

  dispose(): void {
    if (this.#factors) tf.dispose(this.#factors);
    this.#factors = undefined;
  }

  #made(): Record<"scale" | "shift" | "rstd" | "offset", Tensor> {
    const { weight, bias, mean, variance } = this.#parameters;
    this.#factors ??= tf.tidy(() => {
      const rstd = tf.rsqrt(tf.add(variance.value, EPSILON));
      const scale = tf.mul(weight.value, rstd);
      const factors = {
        scale,
        shift: tf.sub(bias.value, tf.mul(mean.value, scale)),
        rstd,
        offset: tf.neg(tf.mul(mean.value, rstd)),
      };
      // They outlive whatever tidy the first pass runs in.
      for (const factor of Object.values(factors)) tf.keep(factor);
      return factors;
    });
    return this.#factors;
  }

  /** Takes x, which float32 factors have made float32, over, and stores it as images are stored here. */
  #cast(x: Tensor): Tensor {
    if (this.#precision !== "bf16") return x;
    const cast = ops().toPrecision(x, this.#precision);
    x.dispose();
    return cast;
  }
}

/** With the statistics of each group. */
class GroupedPass implements Pass {
  readonly #parameters: Parameters;
  readonly #groupSize: number;

  constructor(parameters: Parameters, groupSize: number) {
    this.#parameters = parameters;
    this.#groupSize = groupSize;
  }

  forward(x: Tensor4D, kept: Kept): Tensor {
    const { weight, bias } = this.#parameters;
    const channels = x.shape[3];
    const parts = this.#runs(x, kept).map((run) => {
      const images = asImages(x, run);
      const { y, mean, rstd } = ops().groupNorm(images, weight.value as Tensor1D, bias.value as Tensor1D, channels, EPSILON);
      images.dispose();
      kept.forInput(mean);
      kept.forInput(rstd);
      return asSamples(y, run, x.shape);
    });
    kept.forInput(x);
    return joined(parts);
  }

  backward(dy: Tensor4D, kept: Kept, { sink, input }: Wanted): Tensor | null {
    const { weight, bias, mean, variance } = this.#parameters;
    const x = kept.take() as Tensor4D;
    const runs = this.#runs(x, kept);
    const parts: Tensor[] = [];
    const sums: Record<"dgamma" | "dbeta" | "dMean" | "dVariance", Tensor>[] = [];
    for (const run of [...runs].reverse()) {
      const rstd = kept.take();
      const centre = kept.take();
      const images = asImages(x, run);
      const gradient = asImages(dy, run);
      const want = sink ? "all" : "input";
      const { dx, dgamma, dbeta } = ops().groupNormGrad(gradient, images, centre, rstd, weight.value as Tensor1D, x.shape[3], want);
      if (input) parts.unshift(asSamples(dx, run, x.shape));
      else dx.dispose();
      if (sink) {
        invariant(dgamma && dbeta, "the engine gave no gradient of a batch norm's parameters");
        sums.push({ dgamma, dbeta, ...this.#pulls(run, centre, rstd, x.shape[1] * x.shape[2]) });
      }
      tf.dispose([images, gradient, centre, rstd]);
    }
    if (sink) {
      sink.write(variance, total(sums.map(({ dVariance }) => dVariance)));
      sink.write(mean, total(sums.map(({ dMean }) => dMean)));
      sink.write(bias, total(sums.map(({ dbeta }) => dbeta)));
      sink.write(weight, total(sums.map(({ dgamma }) => dgamma)));
    }
    x.dispose();
    dy.dispose();
    return input ? joined(parts) : null;
  }

  #runs(x: Tensor, { statistics }: Kept): GroupRun[] {
    invariant(statistics !== "running", "groups of a pass that has none");
    const rows = x.shape[0] as number;
    const runs = groupRuns(rows, statistics.parts, this.#groupSize);
    invariant(runs.reduce((sum, run) => sum + run.rows, 0) === rows, `a batch of ${rows} samples has other parts`);
    return runs;
  }

  /** What the groups of a run take from the running statistics: sums over groups of pull (running - group's). */
  #pulls({ pulls, size }: GroupRun, centre: Tensor, rstd: Tensor, pixels: number): Record<"dMean" | "dVariance", Tensor> {
    const { mean, variance } = this.#parameters;
    if (pulls.every((pull) => pull === 0)) return { dMean: tf.zerosLike(mean.value), dVariance: tf.zerosLike(variance.value) };
    const count = size * pixels;
    // Of a single value no unbiased variance is known.
    const unbiased = count > 1 ? count / (count - 1) : 1;
    return tf.tidy(() => {
      const weights = tf.tensor2d([...pulls], [pulls.length, 1]);
      const spread = tf.mul(tf.maximum(tf.sub(tf.div(1, tf.square(rstd)), EPSILON), 0), unbiased);
      const from = (running: Tensor, batch: Tensor): Tensor => tf.sum(tf.mul(weights, tf.sub(running, batch)), 0);
      return { dMean: from(mean.value, centre), dVariance: from(variance.value, spread) };
    });
  }
}

/** The rows of a run [n,H,W,C] as one image a group, [n / size, size H, W, C]. */
function asImages(x: Tensor4D, { from, rows, size }: GroupRun): Tensor4D {
  const [batch, height, width, channels] = x.shape;
  const shape: [number, number, number, number] = [rows / size, size * height, width, channels];
  if (rows === batch) return tf.reshape<tf.Rank.R4>(x, shape);
  const part = tf.slice(x, [from, 0, 0, 0], [rows, height, width, channels]);
  const images = tf.reshape<tf.Rank.R4>(part, shape);
  part.dispose();
  return images;
}

/** The other way round; takes `images` over. */
function asSamples(images: Tensor, { rows }: GroupRun, shape: readonly number[]): Tensor {
  const samples = tf.reshape(images, [rows, ...shape.slice(1)]);
  images.dispose();
  return samples;
}

/** Takes `parts` over. */
function joined(parts: Tensor[]): Tensor {
  if (parts.length === 1) return parts[0] as Tensor;
  const whole = tf.concat(parts, 0);
  tf.dispose(parts);
  return whole;
}

/** Takes `parts` over. */
function total(parts: Tensor[]): Tensor {
  if (parts.length === 1) return parts[0] as Tensor;
  const sum = tf.addN(parts);
  tf.dispose(parts);
  return sum;
}

function sumOverPixels(x: Tensor): Tensor1D {
  return tf.sum(x, [0, 1, 2]); // [C]
}
