/**
 * From pixels in [0,1], [B,H,W,C], to what a foreign model expects: size, range, normalisation, order of channels, layout. All steps are
 * differentiable, so that attacks and saliency work in the data's own pixels, where budgets are stated.
 */
import type { Tensor, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { IsoergError } from "../../util/error.js";

export interface InputOptions {
  /** What [0,1] becomes, for example [-1, 1] or [0, 255]. */
  readonly range?: readonly [number, number];
  /** By channel, subtracted in [0,1] (before nothing else: it excludes `range`). */
  readonly mean?: readonly number[];
  /** By channel, divided by. */
  readonly std?: readonly number[];
  readonly layout?: "nhwc" | "nchw" | "flat";
  readonly channels?: "rgb" | "bgr";
  /** Bring images to the model's size bilinearly; without it another size is an error. */
  readonly resize?: boolean;
}

export type InputAdapter = (x: Tensor4D) => Tensor;

/**
 * @param expected shape of the model's input with the batch first; null or -1 where it is open.
 * @param shape [H,W,C] of the data. @throws IsoergError USAGE that says which option is missing or wrong.
 */
export function inputAdapter(
  expected: readonly (number | null)[],
  shape: readonly [number, number, number],
  options: InputOptions = {},
): InputAdapter {
  const [height, width, channels] = shape;
  const wrong = (problem: string, hint: string): IsoergError =>
    new IsoergError("USAGE", `the model takes ${describe(expected)}, the data are ${height}x${width}x${channels}: ${problem}`, { hint });
  const rank = expected.length;
  const layout = options.layout ?? (rank === 2 ? "flat" : "nhwc");
  if (rank !== (layout === "flat" ? 2 : 4)) throw wrong(`layout ${layout} does not fit`, "Choose with --layout nhwc, nchw or flat.");
  const axes = layout === "nchw" ? ([2, 3, 1] as const) : ([1, 2, 3] as const);
  const [toHeight, toWidth, toChannels] =
    layout === "flat" ? [height, width, channels] : axes.map((axis, i) => open(expected[axis]) ?? (shape[i] as number));
  if (layout === "flat") {
    const size = open(expected[1]);
    if (size !== undefined && size !== height * width * channels)
      throw wrong(`an image has ${height * width * channels} numbers`, "Analyse it with data of the size that it was trained on.");
  }
  if (toChannels !== channels) {
    const looksTurned = layout === "nhwc" && open(expected[1]) === channels;
    throw wrong(
      `${toChannels} channels are not ${channels}`,
      looksTurned ? "It looks like channels first: add --layout nchw." : "Take data with the model's channels.",
    );
  }
  const resize = toHeight !== height || toWidth !== width;
  if (resize && !options.resize) throw wrong("the sizes differ", "Add --resize to bring images to the model's size bilinearly.");
  if (options.range && (options.mean || options.std)) {
    throw new IsoergError("USAGE", "--input-range and --mean/--std both state the scale", { hint: "Give one of them." });
  }
  const scale = scaleOf(options, channels);
  return (x) =>
    tf.tidy(() => {
      let y: Tensor = x;
      if (resize) y = resized(x, toHeight as number, toWidth as number);
      if (scale) y = tf.add(tf.mul(y, tf.tensor1d(scale.factor)), tf.tensor1d(scale.offset));
      if (options.channels === "bgr") y = tf.reverse(y, 3);
      if (layout === "nchw") y = tf.transpose(y, [0, 3, 1, 2]);
      if (layout === "flat") y = tf.reshape(y, [x.shape[0], -1]);
      return y === x ? x.clone() : y;
    });
}

/**
 * Bilinear with half-pixel centres, as two matrix products. (tf.image.resizeBilinear has a wrong gradient for images that are not
 * square: its cpu kernel confuses height and width.)
 */
function resized(x: Tensor4D, toHeight: number, toWidth: number): Tensor4D {
  const [batch, height, width, channels] = x.shape;
  const rows = tf.reshape(tf.transpose(x, [1, 0, 2, 3]), [height, -1]);
  const tall = tf.reshape(tf.matMul(interpolation(height, toHeight), rows), [toHeight, batch, width, channels]);
  const columns = tf.reshape(tf.transpose(tall, [2, 1, 0, 3]), [width, -1]);
  const wide = tf.reshape(tf.matMul(interpolation(width, toWidth), columns), [toWidth, batch, toHeight, channels]);
  return tf.transpose(wide, [1, 2, 0, 3]) as Tensor4D;
}

/** [to, from]: each row has the weights of the one or two nearest centres. */
function interpolation(from: number, to: number): tf.Tensor2D {
  const weights = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const at = Math.min(from - 1, Math.max(0, ((i + 0.5) * from) / to - 0.5));
    const low = Math.floor(at);
    const high = Math.min(from - 1, low + 1);
    weights[i * from + low] = (weights[i * from + low] as number) + 1 - (at - low);
    weights[i * from + high] = (weights[i * from + high] as number) + (at - low);
  }
  return tf.tensor2d(weights, [to, from]);
}

/** y = factor x + offset by channel, or null where nothing changes. Given in the data's order of channels. */
function scaleOf({ range, mean, std }: InputOptions, channels: number): { factor: number[]; offset: number[] } | null {
  if (range) {
    const [low, high] = range;
    if (!(high > low)) throw new IsoergError("USAGE", `--input-range ${low},${high} is no range`);
    return low === 0 && high === 1 ? null : { factor: Array(channels).fill(high - low), offset: Array(channels).fill(low) };
  }
  if (!mean && !std) return null;
  const each = (values: readonly number[] | undefined, fallback: number, flag: string): number[] => {
    if (!values) return Array(channels).fill(fallback);
    if (values.length === 1) return Array(channels).fill(values[0]);
    if (values.length !== channels) throw new IsoergError("USAGE", `${flag} has ${values.length} numbers for ${channels} channels`);
    return [...values];
  };
  const means = each(mean, 0, "--mean");
  const stds = each(std, 1, "--std");
  if (stds.some((value) => !(value > 0))) throw new IsoergError("USAGE", "--std takes numbers above 0");
  return { factor: stds.map((value) => 1 / value), offset: means.map((value, i) => -value / (stds[i] as number)) };
}

function open(length: number | null | undefined): number | undefined {
  return length === null || length === undefined || length < 0 ? undefined : length;
}

function describe(shape: readonly (number | null)[]): string {
  return `[${shape.map((length) => open(length) ?? "?").join(",")}]`;
}
