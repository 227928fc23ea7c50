/**
 * Where data sets and checkpoints lie, in one form: `s3://bucket/prefix`, `file:///folder` on a volume that every machine mounts
 * at the same place, or a plain path, which is a folder of the machine that reads it. A locator is written to files that people
 * share, so one that holds credentials is refused, and its text never quoted.
 */
import { fileURLToPath } from "node:url";
import { IsoergError } from "./error.js";

export type Locator =
  | { readonly kind: "s3"; readonly bucket: string /** Without slashes at its ends; may be empty. */; readonly prefix: string }
  /** A folder that every machine sees. */
  | { readonly kind: "file"; readonly path: string };

const SCHEME = /^([a-z][a-z0-9+.-]*):\/\//i;
const BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/;

/** Whether a place is named by a locator, rather than by a plain path. */
export function isLocator(text: string): boolean {
  return SCHEME.test(text);
}

/** What is wrong with a place, in words that quote no secret; null for a plain path and for a locator that can be used. */
export function locatorProblem(text: string): string | null {
  const scheme = SCHEME.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) return null;
  const rest = text.slice(scheme.length + 3);
  if (/[@?]/.test(rest.split("/")[0] ?? "") || /[?#]/.test(rest)) {
    return "a locator holds a place alone; credentials come from the environment, a profile or the machine's role";
  }
  if (scheme === "file") {
    return rest.startsWith("/") && rest.length > 1 ? null : "write a folder on a shared volume as file:///absolute/path";
  }
  if (scheme !== "s3") return `'${scheme}://' is not known here; write s3://bucket/prefix, file:///absolute/path or a plain path`;
  return BUCKET.test(rest.split("/")[0] ?? "") ? null : "write s3://bucket/prefix, with the bucket's name as it is";
}

/** @throws IsoergError CONFIG for a locator that can't be used. @returns null for a plain path */
export function parseLocator(text: string): Locator | null {
  if (!isLocator(text)) return null;
  const problem = locatorProblem(text);
  if (problem !== null) throw new IsoergError("CONFIG", `a place that can't be used: ${problem}`);
  if (text.slice(0, 4).toLowerCase() === "file") return { kind: "file", path: fileURLToPath(text) };
  const [bucket = "", ...parts] = text.slice("s3://".length).split("/");
  return { kind: "s3", bucket, prefix: parts.filter((part) => part !== "").join("/") };
}

export function locatorText(locator: Locator): string {
  if (locator.kind === "file") return `file://${locator.path}`;
  return `s3://${locator.bucket}${locator.prefix === "" ? "" : `/${locator.prefix}`}`;
}

/** One more level below a place, as text. */
export function below(place: string, name: string): string {
  return `${place.replace(/\/+$/, "")}/${name}`;
}
