/**
 * Which weights of a checkpoint are looked at: the averaged ones (`ema.NAME` in the model's file) where the run kept them, else
 * the last ones.
 */
import type { HostTensor, Tensors } from "../checkpoint/safetensors.js";
import type { Model } from "../model/model.js";
import { flatParameters } from "../train/state.js";
import { IsoergError } from "../util/error.js";

export type WeightsKind = "averaged" | "last";

export interface Weights {
  readonly kind: WeightsKind;
  /** [model.numParameters] */
  readonly flat: Float32Array;
}

const AVERAGED = "ema.";

/** @param want `auto`: averaged where the run kept them. @throws IsoergError CHECKPOINT where they are missing. */
export function chooseWeights(tensors: Tensors, want: WeightsKind | "auto"): WeightsKind {
  const hasAveraged = [...tensors.keys()].some((name) => name.startsWith(AVERAGED));
  if (want === "averaged" && !hasAveraged) {
    throw new IsoergError("CHECKPOINT", "the checkpoint holds no averaged weights", {
      hint: "The run was trained with optimizer.ema = 0; take the last weights.",
    });
  }
  return want === "auto" ? (hasAveraged ? "averaged" : "last") : want;
}

/** @throws IsoergError CHECKPOINT where the tensors are of another model, or the wanted ones are missing. */
export function weightsOf(model: Model, tensors: Tensors, want: WeightsKind | "auto"): Weights {
  const kind = chooseWeights(tensors, want);
  const numbers = new Map<string, HostTensor & { readonly data: Float32Array }>();
  for (const [name, tensor] of tensors) if (tensor.data instanceof Float32Array) numbers.set(name, { ...tensor, data: tensor.data });
  return { kind, flat: flatParameters(model, numbers, kind === "averaged" ? AVERAGED : "") };
}

/** The chosen weights under their plain names, for other programs. */
export function plainTensors(tensors: Tensors, kind: WeightsKind): Tensors {
  const entries = [...tensors].filter(([name]) => name.startsWith(AVERAGED) === (kind === "averaged"));
  return new Map(entries.map(([name, tensor]) => [kind === "averaged" ? name.slice(AVERAGED.length) : name, tensor]));
}
