/**
 * Objects against the schemas of Kubernetes: types, enums and required fields by kubernetes-models; fields that no schema knows,
 * which those let pass and an API server does not, by the client library's own tables.
 */
import { createRequire } from "node:module";
import * as client from "@kubernetes/client-node";
import type { Manifest } from "../../src/k8s/objects.js";

const require = createRequire(import.meta.url);

interface Attribute {
  readonly baseName: string;
  readonly type: string;
}
type Table = readonly Attribute[];

/** What is wrong with an object of Kubernetes' own kinds, one sentence each; empty for a valid one. */
export function problemsOf(object: Manifest): readonly string[] {
  const { apiVersion, kind } = object;
  const at = `${kind} ${object.metadata.name}`;
  return [...typeProblems(object).map((text) => `${at}: ${text}`), ...unknownFields(object, `V1${kind}`, at, apiVersion)];
}

function typeProblems(object: Manifest): readonly string[] {
  const { apiVersion, kind } = object;
  const Model = (require(`kubernetes-models/${apiVersion}`) as Record<string, new (data: unknown) => { validate(): void }>)[kind];
  if (Model === undefined) return [`kubernetes-models has no ${apiVersion} ${kind}`];
  try {
    new Model(object).validate();
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}

/** Fields that the table of a type doesn't have, by their path. */
export function unknownFields(value: unknown, type: string, path: string, apiVersion?: string): readonly string[] {
  const list = /^Array<(.+)>$/.exec(type)?.[1];
  if (list !== undefined) return Array.isArray(value) ? value.flatMap((item, i) => unknownFields(item, list, `${path}[${i}]`)) : [];
  const map = /^\{ \[key: string\]: (.+); \}$/.exec(type)?.[1];
  if (typeof value !== "object" || value === null) return [];
  if (map !== undefined) return Object.entries(value).flatMap(([key, item]) => unknownFields(item, map, `${path}.${key}`));
  const table = tableOf(type);
  if (table === undefined) return apiVersion === undefined ? [] : [`${path}: the client library has no ${type}`];
  return Object.entries(value).flatMap(([key, item]) => {
    const attribute = table.find(({ baseName }) => baseName === key);
    return attribute === undefined ? [`${path}.${key} is no field of ${type}`] : unknownFields(item, attribute.type, `${path}.${key}`);
  });
}

function tableOf(type: string): Table | undefined {
  const model = (client as unknown as Record<string, { getAttributeTypeMap?: () => Table } | undefined>)[type];
  return model?.getAttributeTypeMap?.();
}
