/**
 * Figures that say where they come from. A figure is looked up in its file by a JSON pointer (RFC 6901) and written with that pointer
 * beside it, so what a page shows and what it cites cannot differ.
 *
 *   <data value="0.275" data-run="quickstart" data-source="evaluation.json#/robustness/robust/accuracy">27.5 %</data>
 */
import { invariant } from "../util/error.js";
import { type Html, html } from "./html.js";

/** A file of a run's folder, or a place in it. */
export interface Doc {
  readonly run: string;
  readonly file: string;
  /** Parsed; all of the file, whatever `at` is. */
  readonly json: unknown;
  /** Where pointers begin: "" for the whole file, else "/robustness". */
  readonly at: string;
}

/** A place within a document, from where shorter pointers go on. */
export function within(doc: Doc, pointer: string): Doc {
  return { ...doc, at: doc.at + pointer };
}

/** What stands at a pointer; undefined where there is nothing. */
export function valueAt(json: unknown, pointer: string): unknown {
  return pointer
    .split("/")
    .slice(1)
    .reduce<unknown>((value, key) => {
      const name = key.replaceAll("~1", "/").replaceAll("~0", "~");
      return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
    }, json);
}

export function sourceOf({ file, at }: Doc, pointer = ""): string {
  return `${file}#${at}${pointer}`;
}

/** A number of a file, as people read it. */
export function cite(doc: Doc, pointer: string, format: (value: number) => string): Html {
  const value = valueAt(doc.json, doc.at + pointer);
  invariant(typeof value === "number", `${sourceOf(doc, pointer)} is ${value}, and a figure was to be shown from it`);
  return html`<data value="${value}" data-run="${doc.run}" data-source="${sourceOf(doc, pointer)}">${format(value)}</data>`;
}

/** "27.5 %" and, small, "16.1 to 42.8": an accuracy with its 95 % interval. */
export function citeAccuracy(doc: Doc, pointer: string): Html {
  return html`<b>${cite(doc, `${pointer}/accuracy`, (share) => `${(100 * share).toFixed(1)} %`)}</b><small>${cite(doc, `${pointer}/interval/0`, inPercent)} to ${cite(doc, `${pointer}/interval/1`, inPercent)}</small>`;
}

export function inPercent(share: number): string {
  return (100 * share).toFixed(1);
}
