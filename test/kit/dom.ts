/** Pages as documents. The little of the DOM's interface that tests ask for, since neither jsdom nor this project carries its types. */
// @ts-expect-error jsdom has no types of its own
import { JSDOM } from "jsdom";

export interface DomNode {
  readonly textContent: string | null;
  readonly tagName: string;
  getAttribute(name: string): string | null;
  querySelector(selector: string): DomNode | null;
  querySelectorAll(selector: string): Iterable<DomNode>;
}

export interface DomDocument extends Omit<DomNode, "tagName" | "getAttribute"> {
  readonly body: DomNode;
}

export interface DomWindow {
  readonly document: DomDocument;
  /** Runs a script in the page; only with `scripts`. */
  eval(script: string): unknown;
  close(): void;
}

export function openPage(page: string, { scripts = false } = {}): DomWindow {
  return new JSDOM(page, scripts ? { runScripts: "outside-only" } : {}).window as DomWindow;
}
