/** Decoded samples against what is published about them. */
import { IsoergError } from "../../util/error.js";
import { digestOf } from "../files.js";

/** @throws IsoergError DATA with the expected and the found digest. */
export function checkDigest(what: string, bytes: Uint8Array, expected: string): void {
  const found = digestOf("sha256", bytes);
  if (found === expected) return;
  throw new IsoergError("DATA", `${what}: not the published data: sha256 is ${found}, it should be ${expected}`, {
    hint: "remove the cache folder (ISOERG_CACHE, or ~/.cache/isoerg) and prepare again",
  });
}

/** One class a byte -> class indices. @throws IsoergError DATA for a class that is none. */
export function labelsFrom(what: string, bytes: Uint8Array, numClasses: number): Int32Array {
  const found = bytes.find((value) => value >= numClasses);
  if (found !== undefined) throw new IsoergError("DATA", `${what}: class ${found}, of ${numClasses} classes`);
  return Int32Array.from(bytes);
}
