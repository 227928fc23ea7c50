/**
 * ATen operators as functions of this thread's bridge. `aten("add.Tensor")` resolves the schema once, at its first call, and
 * writes arguments where native/operators.h reads them; arguments left out at the end take the schema's defaults.
 *
 * Results belong to a scratch scope until somebody keeps them: `scope` frees what its body made and did not return, so a
 * kernel is written as an expression and leaks nothing, also when it throws.
 */
import type { DataType } from "@tensorflow/tfjs-core";
import { invariant } from "../../util/error.js";
import { explained } from "./failure.js";
import { type HostArray, loadNative, type Native } from "./native.js";
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

export type Argument = Value | number | boolean | string | null | readonly (number | boolean | Value | null)[];

let native: Native | undefined;
let cells = new Float64Array(0);
let deviceCell = -1;
let scratch: Value[] = [];
const strings = new Map<string, number>();
/** Operators that were resolved; forgotten when another bridge is opened. */
let numOpened = 0;

/** Loads the bridge for this thread. `device` is -1 for the CPU or the number of a CUDA device. */
export function openBridge(path: string, device: number): Native {
  native = loadNative(path);
  cells = new Float64Array(1 << 16);
  native.share(cells);
  deviceCell = device;
  scratch = [];
  strings.clear();
  numOpened++;
  return native;
}

export function bridge(): Native {
  invariant(native, "the torch bridge is not open in this thread");
  return native;
}

/** The device of new tensors, as factories take it. */
export function device(): number {
  return deviceCell;
}

export type Operator = (...given: Argument[]) => Value;
export type ManyOperator = (...given: Argument[]) => Value[];
export type InPlaceOperator = (...given: Argument[]) => void;

/** An operator with one result, by schema name, for example `add.Tensor`. */
export function aten(name: string): Operator {
  const prepare = resolver(name);
  return (...given) => {
    const { number, kinds } = prepare();
    write(name, kinds, given);
    bridge().call(number, given.length);
    return taken(0);
  };
}

/** An operator with several results, or with a list. Results that the caller masked out are not in the list. */
export function atenMany(name: string): ManyOperator {
  const prepare = resolver(name);
  return (...given) => {
    const { number, kinds } = prepare();
    write(name, kinds, given);
    return takenAll(bridge().call(number, given.length));
  };
}

/** An operator that writes into its first argument. */
export function atenInPlace(name: string): InPlaceOperator {
  const prepare = resolver(name);
  return (...given) => {
    const { number, kinds } = prepare();
    write(name, kinds, given);
    bridge().run(number, given.length);
  };
}

interface Resolved {
  readonly number: number;
  readonly kinds: Uint8Array;
}

function resolver(name: string): () => Resolved {
  let resolved: Resolved | undefined;
  let of = 0;
  return () => {
    if (resolved && of === numOpened) return resolved;
    const dot = name.indexOf(".");
    const base = dot < 0 ? name : name.slice(0, dot);
    const number = bridge().operator(`aten::${base}`, dot < 0 ? "" : name.slice(dot + 1));
    resolved = { number, kinds: Uint8Array.from(cells.subarray(1, 1 + (cells[0] as number))) };
    of = numOpened;
    return resolved;
  };
}

/** The encoding of native/operators.h, from the side that writes. */
function write(name: string, kinds: Uint8Array, given: readonly Argument[]): void {
  let at = 0;
  for (let i = 0; i < given.length; i++) {
    const argument = given[i] as Argument;
    switch (kinds[i]) {
      case 0: // Tensor
      case 1: // OptionalTensor
        cells[at++] = argument === null ? 0 : (argument as Value).handle;
        break;
      case 2: // TensorList
      case 3: {
        const list = argument as readonly (Value | null)[];
        room(name, at + list.length);
        cells[at++] = list.length;
        for (const value of list) cells[at++] = value === null ? 0 : value.handle;
        break;
      }
      case 5: // OptionalInt
      case 9: // OptionalBool
      case 19: // Device
        cells[at++] = argument === null ? Number.NaN : Number(argument);
        break;
      case 4: // Int
      case 6: // Float
      case 8: // Bool
        cells[at++] = Number(argument);
        break;
      case 7: // OptionalFloat
        cells[at++] = argument === null ? 0 : 1;
        cells[at++] = argument === null ? 0 : Number(argument);
        break;
      case 10: // Scalar
      case 11:
        cells[at++] = argument === null ? 0 : typeof argument === "boolean" ? 3 : isInteger(argument as number) ? 1 : 2;
        cells[at++] = Number(argument);
        break;
      case 12: // IntList
      case 13:
      case 14: // FloatList
      case 15:
      case 16: {
        // BoolList
        if (argument === null) {
          cells[at++] = -1;
          break;
        }
        const list = argument as readonly number[];
        room(name, at + list.length);
        cells[at++] = list.length;
        for (const value of list) cells[at++] = Number(value);
        break;
      }
      case 17: // String
      case 18:
        cells[at++] = argument === null ? -1 : interned(argument as string);
        break;
      default:
        invariant(false, `argument ${i} of aten::${name} can't be given`);
    }
  }
}

/** An integer Scalar keeps an integer tensor's type and changes nothing for a float one, but it has no -0 and ends at 2^53. */
function isInteger(value: number): boolean {
  return Number.isSafeInteger(value) && !Object.is(value, -0);
}

function room(name: string, need: number): void {
  invariant(need + 64 < cells.length, `a list of ${need} values for aten::${name} is longer than the shared array`);
}

function interned(text: string): number {
  let number = strings.get(text);
  if (number === undefined) {
    number = bridge().string(text);
    strings.set(text, number);
  }
  return number;
}

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

export function shapeToCells(shape: readonly number[]): void {
  cells[0] = shape.length;
  for (let i = 0; i < shape.length; i++) cells[i + 1] = shape[i] as number;
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
  bridge().from(values, type, deviceCell);
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
