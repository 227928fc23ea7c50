/**
 * Native tensors as values, and who frees them. Results belong to a scratch scope until somebody keeps them: `scope` frees what
 * its body made and did not return, so a kernel is written as an expression and leaks nothing, also when it throws.
 */
import type { DataType } from "@tensorflow/tfjs-core";
import { invariant } from "../../util/error.js";
import { bridge, cells, device, shapeToCells } from "./bridge.js";
import { explained } from "./failure.js";
import type { HostArray } from "./native.js";
import { dtypeOf, STRING } from "./scalar-type.js";

/**
 * One native tensor, and at the same time the dataId by which TensorFlow.js knows it: one value, one storage view, one shape.
 * `refCount` 0 is scratch.
 */
export class Value {
  readonly handle: number;
  /** ATen's number; see scalar-type.ts. */
  readonly type: number;
  readonly shape: number[];
  /** What a string tensor holds; such a one has no handle. */
  readonly strings: Uint8Array[] | undefined;
  refCount = 0;
  /** What was computed from it and is freed with it, by name: a filter's transforms. */
  derived: Map<string, Value | null> | undefined;

  constructor(handle: number, type: number, shape: number[], strings?: Uint8Array[]) {
    this.handle = handle;
    this.type = type;
    this.shape = shape;
    this.strings = strings;
  }

  // So a value is also the TensorInfo that a kernel returns.
  get dataId(): Value {
    return this;
  }

  get dtype(): DataType {
    return dtypeOf(this.type);
  }
}

let scratch: Value[] = [];

/** The result that stands in the shared array, as scratch. */
export function taken(at: number): Value {
  const rank = cells[at + 2] as number;
  const shape = new Array<number>(rank);
  for (let i = 0; i < rank; i++) shape[i] = cells[at + 3 + i] as number;
  const value = new Value(cells[at] as number, cells[at + 1] as number, shape);
  scratch.push(value);
  return value;
}

/** All results of a call, without those that were masked out. */
export function takenAll(count: number): Value[] {
  const results: Value[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (cells[at] === 0) {
      at++;
      continue;
    }
    const value = taken(at);
    results.push(value);
    at += 3 + value.shape.length;
  }
  return results;
}

/** While launches are recorded, a copy from the host would be recorded with an address that is gone when they are replayed. */
let hostCopiesRefused = false;

export function refuseHostCopies(refuse: boolean): void {
  hostCopiesRefused = refuse;
}

/** A scratch value from host memory: the array is copied. */
export function fromHost(values: HostArray, type: number, shape: readonly number[]): Value {
  invariant(!hostCopiesRefused, "values came from the host while launches were being recorded");
  shapeToCells(shape);
  bridge().from(values, type, device());
  return taken(0);
}

export function stridesOf(value: Value): number[] {
  bridge().strides(value.handle);
  return Array.from(cells.subarray(1, 1 + (cells[0] as number)));
}

/** Keeps a value beyond the scope that made it; each `keep` is answered by one `release`. */
export function keep(value: Value): Value {
  value.refCount++;
  return value;
}

/** -> whether the value is gone. */
export function release(value: Value): boolean {
  if (--value.refCount > 0) return false;
  if (value.handle !== 0) bridge().release(value.handle);
  if (value.derived) for (const one of value.derived.values()) if (one) release(one);
  return true;
}

/** Computes something from a value once, at the first call, and keeps it as long as the value; null stays null. */
export function derivedOf(value: Value, name: string, compute: () => Value | null): Value | null {
  const known = value.derived?.get(name);
  if (known !== undefined) return known;
  const result = compute();
  if (result) keep(result);
  value.derived ??= new Map();
  value.derived.set(name, result);
  return result;
}

/** Runs a body and frees all scratch that it made, except what was kept (`refCount` > 0). Failures come out explained. */
export function scope<T>(body: () => T): T {
  const outer = scratch;
  const mine: Value[] = [];
  scratch = mine;
  try {
    return body();
  } catch (error) {
    throw explained(error);
  } finally {
    scratch = outer;
    for (const value of mine) if (value.refCount === 0 && value.type !== STRING) bridge().release(value.handle);
  }
}
