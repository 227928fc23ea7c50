/**
 * Group normalisation (Wu & He 2018): on the CPU by the bridge's own loops over [B,H,W,C] (native/group_norm.h), elsewhere by
 * native_group_norm. Statistics and the parameters' gradients are float32 whatever the images are stored in.
 */
import { invariant } from "../../util/error.js";
import { aten, atenMany } from "./aten.js";
import { cast } from "./kernels/convert.js";
import { groupNormGradLastChannels, groupNormLastChannels } from "./own-kernels.js";
import { FLOAT } from "./scalar-type.js";
import type { Value } from "./value.js";

const nativeGroupNorm = atenMany("native_group_norm");
const nativeGroupNormBackward = atenMany("native_group_norm_backward");
const permute = aten("permute");
const contiguous = aten("contiguous");

const NCHW = [0, 3, 1, 2] as const;
const NHWC = [0, 2, 3, 1] as const;
const CHANNELS_LAST = 2; // c10::MemoryFormat

function sizes(x: Value): [batch: number, channels: number, pixels: number] {
  const [batch = 0, height = 0, width = 0, channels = 0] = x.shape;
  return [batch, channels, height * width];
}

export function groupNorm(x: Value, gamma: Value, beta: Value, groups: number, epsilon: number): { y: Value; mean: Value; rstd: Value } {
  const [gain, shift] = [cast(gamma, FLOAT), cast(beta, FLOAT)];
  const [y, mean, rstd] = groupNormLastChannels(x, gain, shift, groups, epsilon);
  if (y && mean && rstd) return { y, mean, rstd };
  const results = nativeGroupNorm(permute(cast(x, FLOAT), NCHW), gain, shift, ...sizes(x), groups, epsilon);
  const [normal, centre, scale] = results;
  invariant(normal && centre && scale, "native_group_norm returns three tensors");
  return { y: cast(permute(normal, NHWC), x.type), mean: centre, rstd: scale };
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
  const gain = cast(gamma, FLOAT);
  const own = groupNormGradLastChannels(cast(dy, x.type), x, mean, rstd, gain, groups);
  if (own[0]) return { dx: own[0], dgamma: all ? (own[1] ?? null) : null, dbeta: all ? (own[2] ?? null) : null };
  const [dx, dgamma = null, dbeta = null] = nativeGroupNormBackward(
    // Until 2.1 this operator reads both as plain NCHW storage, whatever their strides say.
    contiguous(permute(cast(dy, FLOAT), NCHW)),
    contiguous(permute(cast(x, FLOAT), NCHW)),
    mean,
    rstd,
    gain,
    ...sizes(x),
    groups,
    [true, all, all],
  );
  invariant(dx, "native_group_norm_backward returns a gradient");
  return { dx: cast(permute(contiguous(dx, CHANNELS_LAST), NHWC), x.type), dgamma, dbeta };
}
