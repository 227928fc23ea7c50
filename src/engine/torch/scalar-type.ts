/**
 * ATen's scalar types by number (c10/core/ScalarType.h) and what TensorFlow.js calls them. bfloat16 is float32 to the
 * caller: only the storage and the arithmetic are narrower.
 */
import type { DataType } from "@tensorflow/tfjs-core";

export const BYTE = 0;
export const INT = 3;
export const LONG = 4;
export const HALF = 5;
export const FLOAT = 6;
export const DOUBLE = 7;
export const COMPLEX = 9;
export const BOOL = 11;
export const BFLOAT16 = 15;
/** Not ATen's: strings stay in JavaScript. */
export const STRING = -1;

export function dtypeOf(scalarType: number): DataType {
  switch (scalarType) {
    case INT:
      return "int32";
    case BOOL:
      return "bool";
    case COMPLEX:
      return "complex64";
    case STRING:
      return "string";
    default:
      return "float32";
  }
}

export function scalarTypeOf(dtype: DataType): number {
  switch (dtype) {
    case "int32":
      return INT;
    case "bool":
      return BOOL;
    case "complex64":
      return COMPLEX;
    case "string":
      return STRING;
    default:
      return FLOAT;
  }
}
