/**
 * Questions to the schema: which keys are valid at a path, what a setting means, what it may be. The answers make the
 * hints of errors; the schema stays the only place where a setting is described.
 */
import type { z } from "zod";
import { isTree, type Path } from "./layers.js";

type Schema = z.core.$ZodType;

/** The schema below defaults, `nullable` and preprocessing. */
function unwrap(schema: Schema): Schema {
  const def = (schema as z.core.$ZodTypes)._zod.def;
  switch (def.type) {
    case "prefault":
    case "default":
    case "nullable":
    case "optional":
      return unwrap(def.innerType);
    case "pipe":
      return unwrap(def.out);
    default:
      return schema;
  }
}

/** The mapping that stands at `schema`; of a union, the one whose `kind` the value has, else all of them. */
function shapesOf(schema: Schema, value: unknown): readonly Readonly<Record<string, Schema>>[] {
  const def = (unwrap(schema) as z.core.$ZodTypes)._zod.def;
  if (def.type === "object") return [def.shape];
  if (def.type !== "union") return [];
  const all = def.options.flatMap((option) => shapesOf(option, value));
  const chosen = isTree(value) ? all.filter((shape) => literal(shape.kind) === value.kind) : [];
  return chosen.length > 0 ? chosen : all;
}

function literal(schema: Schema | undefined): unknown {
  if (schema === undefined) return undefined;
  const def = (unwrap(schema) as z.core.$ZodTypes)._zod.def;
  return def.type === "literal" ? def.values[0] : undefined;
}

/** The schema at a path, given the settings (they choose between kinds), or undefined where the path leads nowhere. */
export function schemaAt(root: Schema, settings: unknown, path: Path): Schema | undefined {
  let schema: Schema | undefined = root;
  let value = settings;
  for (const key of path) {
    if (schema === undefined) return undefined;
    const def: z.core.$ZodTypes["_zod"]["def"] = (unwrap(schema) as z.core.$ZodTypes)._zod.def;
    if (def.type === "array") schema = def.element;
    else if (def.type === "tuple") schema = def.items[Number(key)];
    else schema = shapesOf(schema, value).find((shape) => String(key) in shape)?.[key];
    value = isTree(value) ? value[String(key)] : Array.isArray(value) ? (value as unknown[])[Number(key)] : undefined;
  }
  return schema;
}

/** The valid keys at a path. */
export function namesAt(root: Schema, settings: unknown, path: Path): readonly string[] {
  const schema = schemaAt(root, settings, path);
  if (schema === undefined) return [];
  let value = settings;
  for (const key of path) value = isTree(value) ? value[String(key)] : Array.isArray(value) ? (value as unknown[])[Number(key)] : undefined;
  return [...new Set(shapesOf(schema, value).flatMap((shape) => Object.keys(shape)))];
}

/** The setting's meaning, from its description in the schema. */
export function meaningOf(schema: Schema | undefined): string | undefined {
  return schema === undefined ? undefined : ((schema as z.ZodType).description ?? undefined);
}
