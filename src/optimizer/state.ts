/**
 * An optimizer's state as named arrays, for checkpoints: `<kind>.<moment>` and `ema`, the averaged parameters of either kind, each
 * flat and as long as the parameters; `<kind>.updates`, the number of updates made, which Adam's bias correction needs; and
 * `swa.count`, how many weights a plain mean holds.
 */

import type { Tensor1D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { ops } from "../engine/ops.js";
import { IsoergError } from "../util/error.js";
import type { Average } from "./average.js";
import type { UpdateRule } from "./rule.js";

export interface OptimizerTensor {
  readonly tensor: string;
  readonly dtype: "F32" | "I32";
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

const AVERAGED = "ema";
const COUNT = "swa.count";

export function exportState(kind: string, rule: UpdateRule, average: Average | null): OptimizerTensor[] {
  const parts: OptimizerTensor[] = [{ tensor: `${kind}.updates`, dtype: "I32", shape: [1], data: Int32Array.of(rule.numUpdates) }];
  for (const [name, value] of rule.state) parts.push(read(`${kind}.${name}`, value));
  if (average?.value) parts.push(read(AVERAGED, average.value));
  if (average && average.state.count > 0) parts.push({ tensor: COUNT, dtype: "I32", shape: [1], data: Int32Array.of(average.state.count) });
  return parts;
}

export interface ImportTarget {
  readonly kind: string;
  readonly rule: UpdateRule;
  readonly average: Average | null;
  readonly numParameters: number;
}

/** Puts a state in place, whole or not at all. Throws IsoergError CHECKPOINT. */
export function importState(parts: readonly OptimizerTensor[], { kind, rule, average, numParameters }: ImportTarget): void {
  const updates = parts.find((part) => part.tensor === `${kind}.updates`)?.data[0];
  if (updates === undefined) {
    const found = parts.map((part) => part.tensor).join(", ") || "nothing";
    throw new IsoergError("CHECKPOINT", `optimizer state has no '${kind}.updates', it holds ${found}`, {
      hint: `the checkpoint was written by another optimizer than ${kind}; set optimizer.kind to that, or start a new run`,
    });
  }
  for (const { tensor, data } of parts) {
    if (tensor !== `${kind}.updates` && tensor !== COUNT && data.length !== numParameters) {
      throw new IsoergError("CHECKPOINT", `optimizer state '${tensor}' has ${data.length} values, the model has ${numParameters}`, {
        hint: "the checkpoint is of another model; resume with the configuration that wrote it",
      });
    }
  }
  const find = (tensor: string) => parts.find((part) => part.tensor === tensor)?.data;
  for (const name of updates > 0 ? rule.stateNames : []) {
    if (!find(`${kind}.${name}`)) {
      throw new IsoergError("CHECKPOINT", `optimizer state has no '${kind}.${name}' after ${updates} updates`, {
        hint: "the checkpoint is incomplete; resume from the one before it",
      });
    }
  }
  const state = new Map<string, Tensor1D>();
  for (const name of rule.stateNames) {
    const data = find(`${kind}.${name}`);
    if (data) state.set(name, tensorOf(data));
  }
  const averaged = average ? find(AVERAGED) : undefined;
  rule.restore(state, updates);
  average?.restore({ value: averaged ? tensorOf(averaged) : null, count: find(COUNT)?.[0] ?? 0 });
}

function read(tensor: string, value: Tensor1D): OptimizerTensor {
  const data = new Float32Array(value.size);
  ops().readInto(value, data);
  return { tensor, dtype: "F32", shape: [value.size], data };
}

/** A tensor of its own memory: some engines keep the array they are given. */
function tensorOf(data: Float32Array | Int32Array): Tensor1D {
  return tf.tensor1d(Float32Array.from(data));
}
