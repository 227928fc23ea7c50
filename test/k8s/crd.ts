/**
 * Objects of other projects' kinds against the structural schemas of their CustomResourceDefinitions (test/k8s/crd), as an API server
 * validates them, and stricter in one thing: a field that the schema doesn't have is a mistake, where the server would prune it.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { Manifest } from "../../src/k8s/objects.js";

interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly "x-kubernetes-int-or-string"?: boolean;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
}

interface Definition {
  readonly apiVersion: string;
  readonly kind: string;
  readonly scope: "Namespaced" | "Cluster";
  readonly schema: Schema;
}

const folder = new URL("crd/", import.meta.url);
const definitions = readdirSync(folder)
  .filter((file) => file.endsWith(".json"))
  .map((file) => JSON.parse(readFileSync(new URL(file, folder), "utf8")) as Definition);

export function definitionOf({ apiVersion, kind }: Pick<Manifest, "apiVersion" | "kind">): Definition | undefined {
  return definitions.find((definition) => definition.apiVersion === apiVersion && definition.kind === kind);
}

/** What is wrong with the object, one sentence each. */
export function crdProblemsOf(object: Manifest): readonly string[] {
  const definition = definitionOf(object);
  const at = `${object.kind} ${object.metadata.name}`;
  if (definition === undefined) return [`${at}: no schema for ${object.apiVersion}`];
  const scope = definition.scope === "Cluster" && object.metadata.namespace !== undefined ? [`${at}: has no namespace`] : [];
  const { metadata: _, ...others } = object; // an object of the server's own type
  return [...scope, ...check(others, definition.schema, at)];
}

function check(value: unknown, schema: Schema, at: string): readonly string[] {
  if (schema["x-kubernetes-int-or-string"]) return Number.isInteger(value) || typeof value === "string" ? [] : [`${at}: ${typeof value}`];
  const problems: string[] = [];
  if (schema.type !== undefined && !isOf(schema.type, value)) return [`${at}: ${JSON.stringify(value)} is no ${schema.type}`];
  if (schema.enum !== undefined && !schema.enum.includes(value)) problems.push(`${at}: ${JSON.stringify(value)} is none of ${schema.enum}`);
  if (typeof value === "string") {
    const { pattern, minLength = 0, maxLength = Number.POSITIVE_INFINITY } = schema;
    if (pattern !== undefined && !new RegExp(pattern, "u").test(value)) problems.push(`${at}: '${value}' is not like ${pattern}`);
    if (value.length < minLength || value.length > maxLength) problems.push(`${at}: has ${value.length} characters`);
  } else if (typeof value === "number") {
    const { minimum = Number.NEGATIVE_INFINITY, maximum = Number.POSITIVE_INFINITY } = schema;
    if (value < minimum || value > maximum) problems.push(`${at}: ${value} is out of range`);
  } else if (Array.isArray(value)) {
    const { minItems = 0, maxItems = Number.POSITIVE_INFINITY, items } = schema;
    if (value.length < minItems || value.length > maxItems) problems.push(`${at}: has ${value.length} items`);
    if (items !== undefined) problems.push(...value.flatMap((item, i) => check(item, items, `${at}[${i}]`)));
  } else if (typeof value === "object" && value !== null) {
    problems.push(...checkFields(value as Readonly<Record<string, unknown>>, schema, at));
  }
  return problems;
}

function checkFields(value: Readonly<Record<string, unknown>>, schema: Schema, at: string): readonly string[] {
  const { properties = {}, additionalProperties, required = [] } = schema;
  const missing = required.filter((key) => value[key] === undefined).map((key) => `${at}.${key} is missing`);
  const found = Object.entries(value).flatMap(([key, child]) => {
    const own = properties[key] ?? (typeof additionalProperties === "object" ? additionalProperties : undefined);
    if (own !== undefined) return check(child, own, `${at}.${key}`);
    const isOpen = additionalProperties === true || schema["x-kubernetes-preserve-unknown-fields"] === true;
    return isOpen || (schema.properties === undefined && additionalProperties === undefined) ? [] : [`${at}.${key} is no field`];
  });
  return [...missing, ...found];
}

function isOf(type: string, value: unknown): boolean {
  if (type === "integer") return Number.isInteger(value);
  if (type === "array") return Array.isArray(value);
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  return typeof value === type;
}
