/**
 * What the schema found wrong, said to a person: where it was written, what is wrong, what would be right.
 */
import type { z } from "zod";
import { IsoergError } from "../util/error.js";
import { didYouMean } from "../util/nearest.js";
import { describeOrigin, isTree, type Layer, type Path, pathKey } from "./layers.js";
import { meaningOf, namesAt, schemaAt } from "./shape.js";

type Issue = z.core.$ZodIssue;

/** One error for all issues: the first decides the hint, the others follow, a line each. */
export function complain(issues: readonly Issue[], settings: Layer, schema: z.core.$ZodType, source: string): IsoergError {
  const said = issues.flatMap((issue) => sentences(issue, settings, schema, source));
  const [first] = said;
  return new IsoergError("CONFIG", said.map(({ message }) => message).join("\n"), first?.hint === undefined ? {} : { hint: first.hint });
}

interface Sentence {
  readonly message: string;
  readonly hint: string | undefined;
}

function sentences(issue: Issue, settings: Layer, schema: z.core.$ZodType, source: string): readonly Sentence[] {
  const path = issue.path.map((part) => (typeof part === "number" ? part : String(part)));
  if (issue.code === "unrecognized_keys") {
    const names = namesAt(schema, settings.tree, path);
    const owner = path.length === 0 ? "the experiment" : pathKey(path);
    return issue.keys.map((key) => ({
      message: `${where(settings, [...path, key], "keys", source)}: unknown key '${key}'${didYouMean(key, names)}`,
      hint: `keys of ${owner}: ${names.join(", ")}`,
    }));
  }
  const value = valueAt(settings.tree, path);
  const setting = schemaAt(schema, settings.tree, path);
  const meaning = meaningOf(setting);
  const about = meaning === undefined ? undefined : `${pathKey(path)}: ${meaning}`;
  if (value === undefined) {
    const allowed = issue.code === "invalid_union" ? namesOfUnion(issue) : undefined;
    return [
      {
        message: `${where(settings, path, "keys", source)}: ${pathKey(path)} is missing`,
        hint: [allowed, about, `set it in the file, or on the command line as ${pathKey(path)}=...`].filter(Boolean).join("; "),
      },
    ];
  }
  const [problem, allowed] = explain(issue, value);
  return [
    {
      message: `${where(settings, path, "values", source)}: ${pathKey(path)}: ${problem}`,
      hint: [allowed, about].filter(Boolean).join("; ") || undefined,
    },
  ];
}

/** What is wrong with a value, and what it may be. */
function explain(issue: Issue, value: unknown): readonly [string, string | undefined] {
  const shown = typeof value === "string" ? `'${value}'` : JSON.stringify(value);
  switch (issue.code) {
    case "invalid_type":
      return [`expected ${article(issue.expected)}, got ${shown}`, undefined];
    case "invalid_value": {
      const names = issue.values.map(String);
      return [`${shown} is none of the allowed values${didYouMean(String(value), names)}`, `one of: ${names.join(", ")}`];
    }
    case "invalid_union":
      return [`${shown} is none of the allowed values`, namesOfUnion(issue)];
    case "too_small":
      return [
        `${shown} is too small: ${bound(issue.origin, issue.inclusive === true ? "at least" : "more than", issue.minimum)}`,
        undefined,
      ];
    case "too_big":
      return [
        `${shown} is too large: ${bound(issue.origin, issue.inclusive === true ? "at most" : "less than", issue.maximum)}`,
        undefined,
      ];
    case "invalid_format":
      return [
        `${shown} has the wrong form`,
        "pattern" in issue && issue.pattern !== undefined ? `it must match ${issue.pattern}` : undefined,
      ];
    default:
      return [`${shown}: ${issue.message}`, undefined];
  }
}

function bound(origin: string, relation: string, limit: number | bigint): string {
  return origin === "array" ? `it must have ${relation} ${limit} items` : `it must be ${relation} ${limit}`;
}

function article(expected: string): string {
  if (expected === "int") return "a whole number";
  if (expected === "object") return "settings of the form 'key: value'";
  if (expected === "array" || expected === "tuple") return "a list such as [1, 2]";
  if (expected === "boolean") return "true or false";
  return `a ${expected}`;
}

function namesOfUnion(issue: Extract<Issue, { code: "invalid_union" }>): string | undefined {
  const options: unknown = "options" in issue ? issue.options : undefined;
  return Array.isArray(options) ? `one of: ${options.map(String).join(", ")}` : undefined;
}

/** The place of the path, or of the nearest written part above it. */
function where(settings: Layer, path: Path, part: "keys" | "values", source: string): string {
  for (let length = path.length; length > 0; length--) {
    const origin = settings[length === path.length ? part : "keys"].get(pathKey(path.slice(0, length)));
    if (origin !== undefined) return describeOrigin(origin);
  }
  return source;
}

function valueAt(tree: unknown, path: Path): unknown {
  let value = tree;
  for (const key of path) value = isTree(value) ? value[String(key)] : Array.isArray(value) ? (value as unknown[])[Number(key)] : undefined;
  return value;
}
