/**
 * One layer of settings (a file, the environment, the command line) as a plain tree that remembers where each part was
 * written, and how a layer is laid over another. Later layers win key by key; lists are replaced whole, unless the upper
 * layer names elements by index; a changed `kind` drops what belonged to the other kind.
 */

export type Path = readonly (string | number)[];

/** Where a value was written. */
export type Origin =
  | { readonly kind: "default" }
  | { readonly kind: "file"; readonly file: string; readonly line: number; readonly column: number }
  | { readonly kind: "environment"; readonly variable: string }
  | { readonly kind: "command line"; readonly text: string };

export interface Layer {
  readonly tree: unknown;
  /** Origins of keys and of their values, by dotted path; every written part has one. */
  readonly keys: ReadonlyMap<string, Origin>;
  readonly values: ReadonlyMap<string, Origin>;
}

export type Tree = { [key: string]: unknown };

export function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function pathKey(path: Path): string {
  return path.join(".");
}

/** "file:line:column" and its fellows. */
export function describeOrigin(origin: Origin): string {
  switch (origin.kind) {
    case "default":
      return "default";
    case "file":
      return `${origin.file}:${origin.line}:${origin.column}`;
    case "environment":
      return `environment ${origin.variable}`;
    case "command line":
      return `command line ${origin.text}`;
    default:
      return origin satisfies never;
  }
}

/** `upper` laid over `lower`; neither is changed. */
export function overlay(lower: Layer, upper: Layer): Layer {
  const keys = new Map(lower.keys);
  const values = new Map(lower.values);
  const forget = (path: Path) => {
    const prefix = pathKey(path);
    for (const map of [keys, values]) {
      for (const key of [...map.keys()]) if (prefix === "" || key.startsWith(`${prefix}.`)) map.delete(key);
    }
  };
  const merge = (below: unknown, above: unknown, path: Path): unknown => {
    if (isTree(below) && isTree(above) && !changesKind(below, above)) {
      const merged: Tree = { ...below };
      for (const [key, value] of Object.entries(above)) merged[key] = key in below ? merge(below[key], value, [...path, key]) : value;
      return merged;
    }
    if (Array.isArray(below) && isTree(above) && Object.keys(above).every((key) => /^\d+$/.test(key) && Number(key) < below.length)) {
      return below.map((item: unknown, i) => (String(i) in above ? merge(item, above[i], [...path, i]) : item));
    }
    forget(path);
    return above;
  };
  const tree = merge(lower.tree, upper.tree, []);
  for (const [path, origin] of upper.keys) keys.set(path, origin);
  for (const [path, origin] of upper.values) values.set(path, origin);
  return { tree, keys, values };
}

function changesKind(below: Tree, above: Tree): boolean {
  return "kind" in above && "kind" in below && above.kind !== below.kind;
}

/** A layer built from single settings, each at its path; `at` fits both the key and the value. */
export function layerOf(settings: readonly { readonly path: readonly string[]; readonly value: unknown; readonly at: Origin }[]): Layer {
  const tree: Tree = {};
  const origins = new Map<string, Origin>();
  for (const { path, value, at } of settings) {
    let node = tree;
    path.forEach((key, depth) => {
      origins.set(pathKey(path.slice(0, depth + 1)), at);
      if (depth === path.length - 1) {
        node[key] = value;
        return;
      }
      const next = node[key];
      const child: Tree = isTree(next) ? next : {};
      node[key] = child;
      node = child;
    });
  }
  return { tree, keys: origins, values: origins };
}
