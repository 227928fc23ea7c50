/**
 * ATen operators as functions of this thread's bridge. `aten("add.Tensor")` resolves the schema once, at its first call, and
 * writes arguments where native/operators.h reads them; arguments left out at the end take the schema's defaults. Results are
 * scratch (value.ts) until somebody keeps them.
 */
import { invariant } from "../../util/error.js";
import { bridge, bridgeNumber, cells } from "./bridge.js";
import { taken, takenAll, type Value } from "./value.js";

export type Argument = Value | number | boolean | string | null | readonly (number | boolean | Value | null)[];

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
    if (resolved && of === bridgeNumber()) return resolved;
    const dot = name.indexOf(".");
    const base = dot < 0 ? name : name.slice(0, dot);
    const number = bridge().operator(`aten::${base}`, dot < 0 ? "" : name.slice(dot + 1));
    resolved = { number, kinds: Uint8Array.from(cells.subarray(1, 1 + (cells[0] as number))) };
    of = bridgeNumber();
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

/** Strings that the bridge knows by number, and of which bridge. */
let strings = new Map<string, number>();
let stringsOf = 0;

function interned(text: string): number {
  if (stringsOf !== bridgeNumber()) {
    strings = new Map();
    stringsOf = bridgeNumber();
  }
  let number = strings.get(text);
  if (number === undefined) {
    number = bridge().string(text);
    strings.set(text, number);
  }
  return number;
}
