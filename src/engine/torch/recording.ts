/**
 * CUDA graphs: the launches of a piece of work with fixed shapes become one launch. Recording executes nothing; the input and the
 * results lie at fixed addresses, so a run copies the values in, replays, and copies the results out, all on one stream.
 *
 * Not yet tried on a GPU, so it is taken only where ISOERG_CUDA_GRAPHS=1 asks for it. What can't be recorded (a value read back, a copy
 * from the host) ends the attempt, and the work runs launch by launch as before.
 */
import type { Tensor } from "@tensorflow/tfjs-core";
import type { Recording } from "../ops.js";
import { aten, atenInPlace } from "./aten.js";
import { bridge, device } from "./bridge.js";
import { refuseHostCopies, scope, type Value } from "./value.js";

const clone = aten("clone");
const copyInto = atenInPlace("copy_");

/** Values and tensors, as ../ops.ts's functions see them. */
export interface TensorAccess {
  native(tensor: Tensor): Value;
  tensorOf(value: Value): Tensor;
}

export function recordLaunches(x: Tensor, body: (given: Tensor) => Tensor[], { native, tensorOf }: TensorAccess): Recording | null {
  const { beginRecording, endRecording, replay, dropRecording } = bridge();
  if (device() < 0 || process.env.ISOERG_CUDA_GRAPHS !== "1") return null;
  if (!beginRecording || !endRecording || !replay || !dropRecording) return null;
  const copy = (tensor: Tensor): Tensor => scope(() => tensorOf(clone(native(tensor))));
  const input = copy(x);
  let number: number;
  try {
    number = beginRecording(device());
  } catch {
    input.dispose();
    return null;
  }
  let results: Tensor[] | null = null;
  refuseHostCopies(true);
  try {
    results = body(input);
  } catch {
    // Not to be recorded; if the work itself is at fault, its next run says so.
  } finally {
    refuseHostCopies(false);
  }
  try {
    endRecording(number);
  } catch {
    for (const result of results ?? []) result.dispose();
    results = null;
  }
  if (results === null) {
    dropRecording(number);
    input.dispose();
    return null;
  }
  const recorded = results;
  return {
    run(values) {
      scope(() => copyInto(native(input), native(values)));
      replay(number);
      return recorded.map(copy);
    },
    dispose() {
      for (const tensor of [input, ...recorded]) tensor.dispose();
      dropRecording(number);
    },
  };
}
