/**
 * This thread's bridge: the addon, the array through which arguments and results pass, the device. native/operators.h says how
 * the array is read and written on the other side.
 */
import { invariant } from "../../util/error.js";
import { loadNative, type Native } from "./native.js";

let native: Native | undefined;
let deviceCell = -1;
let numOpened = 0;

/** Arguments and results, as this thread's bridge sees them. */
export let cells = new Float64Array(0);

/** Loads the bridge for this thread. `device` is -1 for the CPU or the number of a CUDA device. */
export function openBridge(path: string, device: number): Native {
  native = loadNative(path);
  cells = new Float64Array(1 << 16);
  native.share(cells);
  deviceCell = device;
  numOpened++;
  return native;
}

export function bridge(): Native {
  invariant(native, "the torch bridge is not open in this thread");
  return native;
}

/** Which bridge this is: what was resolved in one is unknown to the next. */
export function bridgeNumber(): number {
  return numOpened;
}

/** The device of new tensors, as factories take it. */
export function device(): number {
  return deviceCell;
}

export function shapeToCells(shape: readonly number[]): void {
  cells[0] = shape.length;
  for (let i = 0; i < shape.length; i++) cells[i + 1] = shape[i] as number;
}
