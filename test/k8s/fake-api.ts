/**
 * An API server for tests: HTTP with discovery, server-side apply, merge patches, lists, watches from a resource version, log streams,
 * and strict validation. It holds objects and tells of changes as the real one does; what controllers and kubelets would do is in
 * `fake-controllers.ts`, or done by a test through `update`. The real kubectl is driven against it, which keeps it honest.
 */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parse } from "yaml";
import type { Manifest } from "../../src/k8s/objects.js";
import { problemsOf } from "./schema.js";

export type Stored = Omit<Manifest, "metadata"> & {
  metadata: {
    name: string;
    namespace: string;
    uid: string;
    resourceVersion: string;
    creationTimestamp: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  // biome-ignore lint/suspicious/noExplicitAny: objects of every kind
  spec?: any;
  // biome-ignore lint/suspicious/noExplicitAny: objects of every kind
  status?: any;
};

interface Change {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly version: number;
  readonly resource: string;
  readonly object: Stored;
}

interface Resource {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

const RESOURCES: Readonly<Record<string, Resource>> = {
  pods: { group: "", version: "v1", kind: "Pod" },
  services: { group: "", version: "v1", kind: "Service" },
  configmaps: { group: "", version: "v1", kind: "ConfigMap" },
  serviceaccounts: { group: "", version: "v1", kind: "ServiceAccount" },
  persistentvolumeclaims: { group: "", version: "v1", kind: "PersistentVolumeClaim" },
  jobs: { group: "batch", version: "v1", kind: "Job" },
  networkpolicies: { group: "networking.k8s.io", version: "v1", kind: "NetworkPolicy" },
  poddisruptionbudgets: { group: "policy", version: "v1", kind: "PodDisruptionBudget" },
};
const GROUPS = [...new Set(Object.values(RESOURCES).map(({ group }) => group))].filter((group) => group !== "");

export interface LogLine {
  readonly time: string;
  readonly text: string;
}

export class FakeApi {
  readonly #server: Server;
  readonly #objects = new Map<string, Stored>();
  readonly #applied = new Map<string, Map<string, unknown>>();
  readonly #changes: Change[] = [];
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #logs = new Map<string, { lines: LogLine[]; isOver: boolean; listeners: Set<() => void> }>();
  readonly #watches = new Set<ServerResponse>();
  #version = 1000;
  /** Watches from before this are answered with 410. */
  #oldest = 1000;
  /** Answers a request before it is looked at; for refusals and outages. */
  intercept: ((method: string, path: string) => { code: number; message: string } | null) | null = null;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<FakeApi> {
    const server = createServer();
    const api = new FakeApi(server);
    server.on("request", (request, response) => void api.#answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return api;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  kubeconfig(namespace = "default"): string {
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "fake", cluster: { server: this.url, "insecure-skip-tls-verify": true } }],
      users: [{ name: "tester", user: {} }],
      contexts: [{ name: "fake", context: { cluster: "fake", user: "tester", namespace } }],
      "current-context": "fake",
    });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  // ---- what controllers, kubelets and tests do ----

  list(resource: string): readonly Stored[] {
    return [...this.#objects].filter(([key]) => key.startsWith(`${resource}/`)).map(([, object]) => object);
  }

  create(resource: string, object: object, namespace = "default"): Stored {
    const stored = structuredClone(object) as unknown as Stored;
    stored.metadata = {
      ...stored.metadata,
      namespace,
      uid: randomUUID(),
      resourceVersion: "",
      creationTimestamp: new Date().toISOString().replace(/\.\d+Z/, "Z"),
    };
    this.#objects.set(keyOf(resource, stored.metadata), stored);
    this.#tell("ADDED", resource, stored);
    return stored;
  }

  update(resource: string, name: string, change: (object: Stored) => void, namespace = "default"): void {
    const key = keyOf(resource, { name, namespace });
    const before = this.#objects.get(key);
    if (before === undefined) throw new Error(`no ${key}`);
    const after = structuredClone(before);
    change(after);
    this.#objects.set(key, after);
    this.#tell("MODIFIED", resource, after);
  }

  remove(resource: string, name: string, namespace = "default"): void {
    const key = keyOf(resource, { name, namespace });
    const object = this.#objects.get(key);
    if (object === undefined) return;
    this.#objects.delete(key);
    if (resource === "pods") {
      this.endLog(name);
      this.#logs.delete(name);
    }
    this.#tell("DELETED", resource, structuredClone(object));
  }

  onChange(listener: (resource: string, type: Change["type"], object: Stored) => void): void {
    this.#listeners.add(({ resource, type, object }) => listener(resource, type, object));
  }

  /** Ends every watch, and forgets all that was before: what a restart of the server and a compaction do together. */
  compact(): void {
    this.#oldest = this.#version + 1;
    this.#version += 10;
    for (const response of this.#watches) response.end();
  }

  writeLog(pod: string, ...texts: string[]): void {
    const log = this.#logOf(pod);
    for (const text of texts) {
      const nanos = String(log.lines.length).padStart(9, "0");
      log.lines.push({ time: `2026-01-01T00:00:00.${nanos}Z`, text });
    }
    for (const listener of log.listeners) listener();
  }

  endLog(pod: string): void {
    const log = this.#logOf(pod);
    log.isOver = true;
    for (const listener of log.listeners) listener();
  }

  /** Breaks the streams of a log that goes on, as a kubelet that restarts does. */
  breakLog(pod: string): void {
    for (const response of this.#logStreams.get(pod) ?? []) response.end();
    this.#logStreams.delete(pod);
  }
  readonly #logStreams = new Map<string, Set<ServerResponse>>();

  #logOf(pod: string) {
    const found = this.#logs.get(pod) ?? { lines: [], isOver: false, listeners: new Set<() => void>() };
    this.#logs.set(pod, found);
    return found;
  }

  #tell(type: Change["type"], resource: string, object: Stored): void {
    object.metadata.resourceVersion = String(++this.#version);
    const change = { type, version: this.#version, resource, object: structuredClone(object) };
    this.#changes.push(change);
    for (const listener of [...this.#listeners]) listener(change);
  }

  // ---- HTTP ----

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<undefined> {
    const url = new URL(request.url ?? "/", this.url);
    const { pathname } = url;
    const method = request.method ?? "GET";
    try {
      const refused = this.intercept?.(method, pathname);
      if (refused) return fail(response, refused.code, refused.message);
      const discovered = discovery(pathname);
      if (discovered !== undefined) return reply(response, 200, discovered);
      const found = /^(?:\/api\/v1|\/apis\/([^/]+)\/v1)(?:\/namespaces\/([^/]+))?\/([a-z]+)(?:\/([^/]+))?(?:\/(log|status))?$/.exec(
        pathname,
      );
      const [, group = "", namespace = "default", resource = "", name, sub] = found ?? [];
      if (RESOURCES[resource]?.group !== group) return fail(response, 404, "the server could not find the requested resource");
      if (sub === "log") return this.#sendLog(response, name ?? "", url.searchParams);
      if (method === "GET" && name === undefined) {
        return url.searchParams.get("watch") === "true"
          ? this.#sendWatch(response, resource, namespace, url.searchParams)
          : this.#sendList(response, resource, namespace, url.searchParams);
      }
      const key = keyOf(resource, { name: name ?? "", namespace });
      const existing = this.#objects.get(key);
      if (method === "GET") return existing ? reply(response, 200, existing) : fail(response, 404, `${resource} "${name}" not found`);
      if (method === "DELETE") {
        if (!existing) return fail(response, 404, `${resource} "${name}" not found`);
        this.remove(resource, name ?? "", namespace);
        return reply(response, 200, { kind: "Status", apiVersion: "v1", status: "Success" });
      }
      if (method !== "PATCH") return fail(response, 405, `${method} is not for this server`);
      const body = parse(await textOf(request)) as Manifest;
      const type = request.headers["content-type"] ?? "";
      if (type.startsWith("application/apply-patch")) {
        return this.#apply(response, { key, resource, namespace, body, existing, query: url.searchParams });
      }
      if (!existing) return fail(response, 404, `${resource} "${name}" not found`);
      this.update(resource, name ?? "", (object) => mergePatch(object, body), namespace);
      reply(response, 200, this.#objects.get(key));
    } catch (error) {
      fail(response, 400, (error as Error).message);
    }
  }

  #apply(
    response: ServerResponse,
    {
      key,
      resource,
      namespace,
      body,
      existing,
      query,
    }: {
      key: string;
      resource: string;
      namespace: string;
      body: Manifest;
      existing: Stored | undefined;
      query: URLSearchParams;
    },
  ): undefined {
    const manager = query.get("fieldManager");
    if (manager === null) return fail(response, 400, "fieldManager is required for apply patch");
    const problems = problemsOf(body);
    if (problems.length > 0) return fail(response, 422, `${resource} "${body.metadata.name}" is invalid: ${problems.join("; ")}`);
    const owners = this.#applied.get(key) ?? new Map<string, unknown>();
    const conflicts = [...owners].filter(([other]) => other !== manager).flatMap(([other, theirs]) => differing(theirs, body, other));
    if (conflicts.length > 0 && query.get("force") !== "true") {
      return fail(response, 409, `Apply failed with ${conflicts.length} conflicts: ${conflicts.join(", ")}`);
    }
    if (query.get("dryRun") === "All") return reply(response, 200, { ...existing, ...body });
    this.#applied.set(key, owners.set(manager, body));
    if (existing === undefined) return reply(response, 201, this.create(resource, body, namespace));
    const template = (object: { spec?: { template?: unknown } }): string => JSON.stringify(sorted(object.spec?.template));
    if (resource === "jobs" && template(existing) !== template(body as { spec?: { template?: unknown } })) {
      return fail(response, 422, `Job.batch "${body.metadata.name}" is invalid: spec.template: Invalid value: field is immutable`);
    }
    const after = structuredClone(existing);
    mergePatch(after, body);
    if (JSON.stringify(after) !== JSON.stringify(existing)) {
      this.update(resource, body.metadata.name, (object) => mergePatch(object, body), namespace);
    }
    reply(response, 200, this.#objects.get(key));
  }

  #sendList(response: ServerResponse, resource: string, namespace: string, query: URLSearchParams): undefined {
    const { group, version, kind } = RESOURCES[resource] as Resource;
    const items = this.list(resource).filter((object) => isWanted(object, namespace, query));
    const apiVersion = group === "" ? version : `${group}/${version}`;
    reply(response, 200, { apiVersion, kind: `${kind}List`, metadata: { resourceVersion: String(this.#version) }, items });
  }

  #sendWatch(response: ServerResponse, resource: string, namespace: string, query: URLSearchParams): undefined {
    const from = Number(query.get("resourceVersion") ?? this.#version);
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    if (from < this.#oldest) {
      response.end(`${JSON.stringify({ type: "ERROR", object: statusOf(410, "too old resource version") })}\n`);
      return;
    }
    const send = (change: Change): void => {
      if (change.resource !== resource || change.version <= from || !isWanted(change.object, namespace, query)) return;
      response.write(`${JSON.stringify({ type: change.type, object: change.object })}\n`);
    };
    for (const change of this.#changes) send(change);
    this.#listeners.add(send);
    this.#watches.add(response);
    response.on("close", () => {
      this.#listeners.delete(send);
      this.#watches.delete(response);
    });
  }

  #sendLog(response: ServerResponse, pod: string, query: URLSearchParams): undefined {
    const log = this.#logs.get(pod);
    if (log === undefined) return fail(response, 404, `pods "${pod}" not found`);
    const tail = Number(query.get("tailLines") ?? Number.POSITIVE_INFINITY);
    const since = query.get("sinceTime") ?? "";
    let sent = Number.isFinite(tail) ? Math.max(0, log.lines.length - tail) : 0;
    response.writeHead(200, { "content-type": "text/plain" });
    response.flushHeaders();
    const send = (): void => {
      if (response.writableEnded) return;
      for (const { time, text } of log.lines.slice(sent)) {
        if (time.slice(0, 19) >= since.slice(0, 19)) response.write(query.get("timestamps") === "true" ? `${time} ${text}\n` : `${text}\n`);
      }
      sent = log.lines.length;
      if (log.isOver || query.get("follow") !== "true") response.end();
    };
    log.listeners.add(send);
    this.#logStreams.set(pod, (this.#logStreams.get(pod) ?? new Set()).add(response));
    response.on("close", () => log.listeners.delete(send));
    send();
  }
}

function keyOf(resource: string, { name, namespace }: { name: string; namespace: string }): string {
  return `${resource}/${namespace}/${name}`;
}

function isWanted({ metadata }: Stored, namespace: string, query: URLSearchParams): boolean {
  const selector = (query.get("labelSelector") ?? "").split(",").filter((part) => part !== "");
  const name = /^metadata\.name=(.+)$/.exec(query.get("fieldSelector") ?? "")?.[1];
  return (
    metadata.namespace === namespace &&
    (name === undefined || metadata.name === name) &&
    selector.every((part) => {
      const [key = "", value] = part.split("=");
      return metadata.labels?.[key] === value;
    })
  );
}

/** Leaves that `wanted` sets otherwise than `theirs` does; lists are leaves. */
function differing(theirs: unknown, wanted: unknown, manager: string, path = ""): readonly string[] {
  if (!isTree(theirs) || !isTree(wanted)) {
    return JSON.stringify(sorted(theirs)) === JSON.stringify(sorted(wanted)) ? [] : [`conflict with "${manager}": ${path}`];
  }
  return Object.entries(wanted).flatMap(([key, value]) => (key in theirs ? differing(theirs[key], value, manager, `${path}.${key}`) : []));
}

/** RFC 7386. */
function mergePatch(target: unknown, patch: unknown): void {
  if (!isTree(target) || !isTree(patch)) return;
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete target[key];
    else if (isTree(value) && isTree(target[key])) mergePatch(target[key], value);
    else target[key] = structuredClone(value);
  }
}

function isTree(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isTree(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  );
}

/** What clients ask first: groups, versions and kinds. */
function discovery(path: string): unknown {
  if (path === "/version") return { major: "1", minor: "32", gitVersion: "v1.32.0" };
  if (path === "/api") return { kind: "APIVersions", versions: ["v1"] };
  if (path === "/apis") {
    const versionOf = (group: string) => ({ groupVersion: `${group}/v1`, version: "v1" });
    const groups = GROUPS.map((name) => ({ name, versions: [versionOf(name)], preferredVersion: versionOf(name) }));
    return { kind: "APIGroupList", apiVersion: "v1", groups };
  }
  const group = path === "/api/v1" ? "" : /^\/apis\/([^/]+)\/v1$/.exec(path)?.[1];
  if (group === undefined) return undefined;
  const resources = Object.entries(RESOURCES)
    .filter(([, resource]) => resource.group === group)
    .map(([name, { kind }]) => ({
      name,
      singularName: kind.toLowerCase(),
      kind,
      namespaced: true,
      verbs: ["create", "delete", "get", "list", "patch", "update", "watch"],
    }));
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion: group === "" ? "v1" : `${group}/v1`, resources };
}

function statusOf(code: number, message: string): object {
  const reasons: Record<number, string> = {
    400: "BadRequest",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
  };
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, reason: reasons[code] ?? "InternalError", code };
}

function fail(response: ServerResponse, code: number, message: string): undefined {
  reply(response, code, statusOf(code, message));
}

function reply(response: ServerResponse, code: number, body: unknown): undefined {
  response.writeHead(code, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
