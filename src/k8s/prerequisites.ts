/**
 * What pods name and no rendered object makes: Secrets, ConfigMaps, claims, accounts. A pod that lacks one of them waits without a
 * word in its status, so it is said beforehand, by name and key.
 */
import type { V1PodSpec } from "@kubernetes/client-node";
import type { Manifest } from "./objects.js";

export interface Prerequisite {
  readonly kind: "Secret" | "ConfigMap" | "PersistentVolumeClaim" | "ServiceAccount";
  readonly name: string;
  /** That are read of it by name; none where all are. */
  readonly keys: readonly string[];
}

/** Each once, by kind and name. */
export function prerequisitesOf(objects: readonly Manifest[]): readonly Prerequisite[] {
  const made = new Set(objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`));
  const keysOf = new Map<string, Set<string>>();
  const needs = (kind: Prerequisite["kind"], name: string | undefined, keys: readonly string[] = []): void => {
    const id = `${kind} ${name}`;
    if (name === undefined || made.has(id)) return;
    const known = keysOf.get(id) ?? new Set();
    for (const key of keys) known.add(key);
    keysOf.set(id, known);
  };
  for (const { serviceAccountName, volumes = [], containers } of podSpecsIn(objects)) {
    needs("ServiceAccount", serviceAccountName);
    for (const { secret, configMap, persistentVolumeClaim } of volumes) {
      if (secret) needs("Secret", secret.secretName);
      if (configMap)
        needs(
          "ConfigMap",
          configMap.name,
          configMap.items?.map(({ key }) => key),
        );
      if (persistentVolumeClaim) needs("PersistentVolumeClaim", persistentVolumeClaim.claimName);
    }
    for (const { valueFrom } of containers.flatMap(({ env = [] }) => env)) {
      const from = valueFrom?.secretKeyRef;
      if (from && from.optional !== true) needs("Secret", from.name, [from.key]);
    }
  }
  return [...keysOf].map(([id, keys]) => {
    const [kind, name] = id.split(" ") as [Prerequisite["kind"], string];
    return { kind, name, keys: [...keys] };
  });
}

/** A line for a person, with its end; empty where nothing is needed. */
export function describePrerequisites(objects: readonly Manifest[]): string {
  const found = prerequisitesOf(objects).map(({ kind, name, keys }) => `${kind} ${name}${keys.length > 0 ? ` (${keys.join(", ")})` : ""}`);
  return found.length === 0 ? "" : `they need in the namespace: ${found.join(", ")}\n`;
}

/** However deep: in Jobs, in JobSets, in training runtimes. */
function podSpecsIn(value: unknown): readonly V1PodSpec[] {
  if (typeof value !== "object" || value === null) return [];
  if (Array.isArray((value as { containers?: unknown }).containers)) return [value as V1PodSpec];
  return Object.values(value).flatMap(podSpecsIn);
}
