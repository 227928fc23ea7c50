/**
 * A YAML text as a layer of settings: the plain tree, and line and column of every key and value. Broken YAML and keys
 * written twice are errors with their position. A text may come from anywhere: its size and depth are limited, and aliases that
 * would unfold to more than a person writes are refused.
 */
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import { IsoergError } from "../util/error.js";
import { type Layer, type Origin, type Path, pathKey } from "./layers.js";

/**
 * @param file how the text's file is called in messages
 * @throws IsoergError CONFIG for text that is not YAML, or whose top is not a mapping.
 */
export function parseYamlLayer(text: string, file: string): Layer {
  const tooMuch = tooMuchOf(text);
  if (tooMuch !== undefined) throw new IsoergError("CONFIG", `${file}: ${tooMuch}`, { hint: "settings are a few pages of YAML" });
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): Origin => {
    const { line, col } = lines.linePos(offset);
    return { kind: "file", file, line, column: col };
  };
  const broken = document.errors[0];
  if (broken !== undefined) {
    const { line, col } = lines.linePos(broken.pos[0]);
    throw new IsoergError("CONFIG", `${file}:${line}:${col}: ${broken.message}`, { hint: "the file must be YAML", cause: broken });
  }
  if (document.contents !== null && !isMap(document.contents)) {
    throw new IsoergError("CONFIG", `${file}:1:1: expected settings of the form 'key: value'`, { hint: "see isoerg train --help" });
  }

  const keys = new Map<string, Origin>();
  const values = new Map<string, Origin>();
  const visit = (node: Node | null | undefined, path: Path): void => {
    if (node === null || node === undefined || isAlias(node)) return;
    if (node.range) values.set(pathKey(path), at(node.range[0]));
    if (isMap<Node, Node>(node)) {
      for (const { key, value } of node.items) {
        const child = [...path, isScalar(key) ? String(key.value) : String(key)];
        if (key.range) keys.set(pathKey(child), at(key.range[0]));
        if (key.range) values.set(pathKey(child), at(key.range[0])); // for values that have no place of their own
        visit(value, child);
      }
    } else if (isSeq<Node>(node)) {
      for (const [i, item] of node.items.entries()) visit(item, [...path, i]);
    }
  };
  visit(document.contents, []);
  return { tree: plainTree(document, file), keys, values };
}

const MAX_TEXT_BYTES = 2 ** 20;
const MAX_DEPTH = 64;

/** What would cost the parser more than settings are worth. Brackets are counted without regard to quotes: 64 are enough for either. */
function tooMuchOf(text: string): string | undefined {
  if (text.length > MAX_TEXT_BYTES) return `${text.length} characters are too many`;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === "[" || character === "{") depth++;
    else if (character === "]" || character === "}") depth = Math.max(0, depth - 1);
    if (depth > MAX_DEPTH) return `brackets stand more than ${MAX_DEPTH} deep`;
  }
  // "- - - -" and "? ? ? ?" open a level a word, all in one line; indentation opens at most one a line.
  if (/(?:[-?:]\s+){65}/.test(text)) return `lists stand more than ${MAX_DEPTH} deep`;
  return undefined;
}

/** @throws IsoergError CONFIG for aliases that name nothing, unfold to too much, or stand within what they name. */
function plainTree(document: Document, file: string): unknown {
  let tree: unknown;
  try {
    tree = document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch (cause) {
    if (!(cause instanceof Error)) throw cause;
    throw new IsoergError("CONFIG", `${file}: ${cause.message}`, { hint: "the file must be YAML", cause });
  }
  try {
    JSON.stringify(tree);
  } catch {
    throw new IsoergError("CONFIG", `${file}: an alias stands within what it names, so that it has no end`, {
      hint: "write the value out where *name stands",
    });
  }
  return tree;
}
