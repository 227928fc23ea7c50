/**
 * The objects of the API server of the tests: each change has a version, is remembered for watches that begin before it, and told to
 * whoever listens. Objects are never changed in place: who was told of one keeps what it was told.
 */
import { randomUUID } from "node:crypto";
import type { Manifest } from "../../src/k8s/objects.js";
import { differing, mergePatch, sorted } from "./fake-patch.js";
import { problemsOf } from "./schema.js";

export type Stored = Omit<Manifest, "metadata"> & {
  metadata: {
    name: string;
    namespace: string;
    uid: string;
    resourceVersion: string;
    creationTimestamp: string;
    deletionTimestamp?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  // biome-ignore lint/suspicious/noExplicitAny: objects of every kind
  spec?: any;
  // biome-ignore lint/suspicious/noExplicitAny: objects of every kind
  status?: any;
};

export interface Change {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly version: number;
  readonly resource: string;
  readonly object: Stored;
}

/** An answer to a request that changes something: HTTP's code with the object, or why not. */
export type Answer = { readonly code: 200 | 201; readonly object: unknown } | { readonly code: 400 | 409 | 422; readonly message: string };

/** A name in a namespace, of one kind. */
export interface Place {
  readonly resource: string;
  readonly name: string;
  readonly namespace: string;
}

export class FakeStore {
  readonly #objects = new Map<string, Stored>();
  readonly #applied = new Map<string, Map<string, unknown>>();
  readonly #changes: Change[] = [];
  readonly #listeners = new Set<(change: Change) => void>();
  #version = 1000;
  /** Watches from before this are answered with 410. */
  #oldest = 1000;

  get version(): number {
    return this.#version;
  }

  get oldest(): number {
    return this.#oldest;
  }

  /** Every change that is remembered, oldest first. */
  get changes(): readonly Change[] {
    return this.#changes;
  }

  /** @returns what ends the listening */
  listen(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Forgets all that was before. */
  compact(): void {
    this.#oldest = this.#version + 1;
    this.#version += 10;
  }

  get(place: Place): Stored | undefined {
    return this.#objects.get(keyOf(place));
  }

  list(resource: string): readonly Stored[] {
    return [...this.#objects].filter(([key]) => key.startsWith(`${resource}/`)).map(([, object]) => object);
  }

  create(resource: string, object: object, namespace: string): Stored {
    const stored = structuredClone(object) as unknown as Stored;
    stored.metadata = {
      ...stored.metadata,
      namespace,
      uid: randomUUID(),
      resourceVersion: "",
      creationTimestamp: new Date().toISOString().replace(/\.\d+Z/, "Z"),
    };
    this.#objects.set(keyOf({ resource, name: stored.metadata.name, namespace }), stored);
    this.#tell("ADDED", resource, stored);
    return stored;
  }

  update(place: Place, change: (object: Stored) => void): void {
    const before = this.get(place);
    if (before === undefined) throw new Error(`no ${keyOf(place)}`);
    const after = structuredClone(before);
    change(after);
    this.#objects.set(keyOf(place), after);
    this.#tell("MODIFIED", place.resource, after);
  }

  remove(place: Place): void {
    const object = this.get(place);
    if (object === undefined) return;
    this.#objects.delete(keyOf(place));
    this.#applied.delete(keyOf(place));
    this.#tell("DELETED", place.resource, structuredClone(object));
  }

  /** Server-side apply. */
  apply(place: Place, body: Manifest, query: URLSearchParams): Answer {
    const { resource, name } = place;
    const existing = this.get(place);
    const manager = query.get("fieldManager");
    if (manager === null) return { code: 400, message: "fieldManager is required for apply patch" };
    const problems = problemsOf(body);
    if (problems.length > 0) return { code: 422, message: `${resource} "${name}" is invalid: ${problems.join("; ")}` };
    const owners = this.#applied.get(keyOf(place)) ?? new Map<string, unknown>();
    const conflicts = [...owners].filter(([other]) => other !== manager).flatMap(([other, theirs]) => differing(theirs, body, other));
    if (conflicts.length > 0 && query.get("force") !== "true")
      return {
        code: 409,
        message: `Apply failed with ${conflicts.length} conflict${conflicts.length > 1 ? "s" : ""}: ${conflicts.join(", ")}`,
      };
    const isDryRun = query.get("dryRun") === "All";
    if (existing === undefined && isDryRun) return { code: 201, object: body };
    if (existing === undefined) {
      this.#applied.set(keyOf(place), owners.set(manager, body));
      const managedFields = [{ manager, operation: "Apply" }];
      return { code: 201, object: this.create(resource, { ...body, metadata: { ...body.metadata, managedFields } }, place.namespace) };
    }
    const template = (object: { spec?: { template?: unknown } }): string => JSON.stringify(sorted(object.spec?.template));
    if (resource === "jobs" && template(existing) !== template(body as { spec?: { template?: unknown } }))
      return {
        code: 422,
        message: `Job.batch "${name}" is invalid: spec.template: Invalid value: ${template(existing)}: field is immutable`,
      };
    if (isDryRun) return { code: 200, object: { ...existing, ...body, metadata: { ...existing.metadata, ...body.metadata } } };
    this.#applied.set(keyOf(place), owners.set(manager, body));
    const after = structuredClone(existing);
    mergePatch(after, body);
    if (JSON.stringify(after) !== JSON.stringify(existing)) this.update(place, (object) => mergePatch(object, body));
    return { code: 200, object: this.get(place) };
  }

  #tell(type: Change["type"], resource: string, object: Stored): void {
    object.metadata.resourceVersion = String(++this.#version);
    const change = { type, version: this.#version, resource, object: structuredClone(object) };
    this.#changes.push(change);
    for (const listener of [...this.#listeners]) listener(change);
  }
}

function keyOf({ resource, name, namespace }: Place): string {
  return `${resource}/${namespace}/${name}`;
}

/** Whether a list or a watch asks for this object. */
export function isWanted({ metadata, ...rest }: Stored, namespace: string, query: URLSearchParams): boolean {
  const selector = (query.get("labelSelector") ?? "").split(",").filter((part) => part !== "");
  const field = query.get("fieldSelector") ?? "";
  const name = /^metadata\.name=(.+)$/.exec(field)?.[1];
  const type = /^type=(.+)$/.exec(field)?.[1];
  return (
    metadata.namespace === namespace &&
    (name === undefined || metadata.name === name) &&
    (type === undefined || (rest as { type?: string }).type === type) &&
    selector.every((part) => {
      const [key = "", value] = part.split("=");
      return metadata.labels?.[key] === value;
    })
  );
}
