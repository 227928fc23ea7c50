/**
 * Group normalisation (Wu & He 2018) over native_group_norm and its backward, on channels_last views.
 * Statistics and the parameters' gradients are float32 whatever the images are stored in.
 */
import { invariant } from "../../util/error.js";
import { aten, atenMany, type Value } from "./aten.js";
import { cast } from "./kernels/convert.js";
import { FLOAT } from "./scalar-type.js";

const nativeGroupNorm = atenMany("native_group_norm");
const nativeGroupNormBackward = atenMany("native_group_norm_backward");
const permute = aten("permute");
const contiguous = aten("contiguous");

const NCHW = [0, 3, 1, 2] as const;
const NHWC = [0, 2, 3, 1] as const;
const CHANNELS_LAST = 2;

function sizes(x: Value): [batch: number, channels: number, pixels: number] {
  const [batch = 0, height = 0, width = 0, channels = 0] = x.shape;
  return [batch, channels, height * width];
}

export function groupNorm(x: Value, gamma: Value, beta: Value, groups: number, epsilon: number): { y: Value; mean: Value; rstd: Value } {
  const [y, mean, rstd] = nativeGroupNorm(
    permute(cast(x, FLOAT), NCHW),
    cast(gamma, FLOAT),
    cast(beta, FLOAT),
    ...sizes(x),
    groups,
    epsilon,
  );
  invariant(y && mean && rstd, "native_group_norm returns three tensors");
  return { y: cast(permute(y, NHWC), x.type), mean, rstd };
}

export function groupNormGrad(
  dy: Value,
  x: Value,
  mean: Value,
  rstd: Value,
  gamma: Value,
  groups: number,
  want: "input" | "all",
): { dx: Value; dgamma: Value | null; dbeta: Value | null } {
  const all = want === "all";
  const [dx, dgamma = null, dbeta = null] = nativeGroupNormBackward(
    // Until 2.1 this operator reads both as plain NCHW storage, whatever their strides say.
    contiguous(permute(cast(dy, FLOAT), NCHW)),
    contiguous(permute(cast(x, FLOAT), NCHW)),
    mean,
    rstd,
    cast(gamma, FLOAT),
    ...sizes(x),
    groups,
    [true, all, all],
  );
  invariant(dx, "native_group_norm_backward returns a gradient");
  return { dx: cast(permute(contiguous(dx, CHANNELS_LAST), NHWC), x.type), dgamma, dbeta };
}
