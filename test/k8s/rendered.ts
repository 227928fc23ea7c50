/** Objects to look at: quickstart's, rendered with options, and the pods among them. */
import type { V1Container, V1PodTemplateSpec } from "@kubernetes/client-node";
import { loadConfig } from "../../src/config/load.js";
import type { Config } from "../../src/config/schema.js";
import { type Manifest, renderObjects } from "../../src/k8s/objects.js";
import { type K8sOptions, k8sOptions, NO_BUCKET } from "../../src/k8s/options.js";

export const quickstart: Config = loadConfig({ source: "quickstart", env: {} }).config;

export function options(over: Partial<K8sOptions> = {}): K8sOptions {
  return k8sOptions({ name: "quickstart", ...over });
}

export function rendered(over: Partial<K8sOptions> = {}): readonly Manifest[] {
  return renderObjects(quickstart, options(over));
}

/** Settings of an experiment whose data, and whose checkpoints, are elsewhere. */
export const IN_BUCKET = [
  "data.path=s3://models/sets/small",
  "checkpoint.path=s3://models/runs/one",
  "storage.endpoint=https://s3.storage.svc:9000",
];
export const BUCKET_OPTIONS: Partial<K8sOptions> = { bucket: { ...NO_BUCKET, secret: "s3", workerSecret: "s3-read" } };
export const ON_SHARED_VOLUME = ["data.path=file:///mnt/team/sets/small", "checkpoint.path=file:///mnt/team/runs/one"];

export function configAt(settings: readonly string[]): Config {
  return loadConfig({ source: "quickstart", overrides: [...settings], env: {} }).config;
}

export function renderedAt(settings: readonly string[], over: Partial<K8sOptions> = {}): readonly Manifest[] {
  return renderObjects(configAt(settings), options(over));
}

export interface Pod {
  /** Path of kinds and names down to it. */
  readonly of: string;
  readonly template: V1PodTemplateSpec;
}

/** Every pod template in a tree of objects, however deep: in Jobs, in JobSets, in training runtimes. */
export function podsOf(objects: readonly unknown[], path = ""): readonly Pod[] {
  return objects.flatMap((object): readonly Pod[] => {
    if (typeof object !== "object" || object === null) return [];
    const { kind, name, metadata } = object as { kind?: string; name?: string; metadata?: { name?: string } };
    const at = [path, kind, metadata?.name ?? name].filter((part) => part !== undefined && part !== "").join(" ");
    if (isPodTemplate(object)) return [{ of: path, template: object }];
    return podsOf(
      Object.values(object).flatMap((value) => (Array.isArray(value) ? value : [value])),
      at,
    );
  });
}

export function containersOf({ template }: Pod): readonly V1Container[] {
  return [...(template.spec?.initContainers ?? []), ...(template.spec?.containers ?? [])];
}

function isPodTemplate(object: object): object is V1PodTemplateSpec {
  const { spec } = object as { spec?: { containers?: unknown } };
  return Array.isArray(spec?.containers);
}
