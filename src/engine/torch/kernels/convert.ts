/** Conversions that many kernels share. */
import { aten } from "../aten.js";
import { device } from "../bridge.js";
import type { HostArray } from "../native.js";
import { BFLOAT16, FLOAT, HALF, INT } from "../scalar-type.js";
import { fromHost, type Value } from "../value.js";

const toCopy = aten("_to_copy");
const fullOf = aten("full");
const emptyOf = aten("empty.memory_format");
const arangeOf = aten("arange.start_step");
const permuteOf = aten("permute");
const reshapeOf = aten("reshape");
const contiguousOf = aten("contiguous");

/** The same value where the type is already right. */
export function cast(x: Value, type: number): Value {
  return x.type === type ? x : toCopy(x, type);
}

export function isFloat(x: Value): boolean {
  return x.type === FLOAT || x.type === BFLOAT16 || x.type === HALF;
}

/** Float values for operators that have no integer kernel. */
export function float(x: Value): Value {
  return isFloat(x) ? x : toCopy(x, FLOAT);
}

export function full(shape: readonly number[], value: number | boolean, type: number): Value {
  return fullOf(shape, value, type, null, device());
}

export function empty(shape: readonly number[], type: number): Value {
  return emptyOf(shape, type, null, device());
}

/** First, first + step, ... below end. */
export function range(first: number, end: number, step: number, type: number): Value {
  return arangeOf(first, end, step, type, null, device());
}

export function permute(x: Value, order: readonly number[]): Value {
  return permuteOf(x, order);
}

export function reshape(x: Value, shape: readonly number[]): Value {
  return reshapeOf(x, shape);
}

export function contiguous(x: Value): Value {
  return contiguousOf(x);
}

export function int32(values: Int32Array | readonly number[], shape: readonly number[] = [values.length]): Value {
  return fromHost(Int32Array.from(values) as HostArray, INT, shape);
}

export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const length of shape) size *= length;
  return size;
}
