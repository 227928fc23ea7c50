/**
 * An API server for tests: HTTP with discovery, server-side apply, merge patches, lists, watches from a resource version, log streams,
 * and strict validation. It holds objects and tells of changes as the real one does; what controllers and kubelets would do is in
 * `fake-controllers.ts`, or done by a test through `update`. The real kubectl is driven against it, which keeps it honest.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parse } from "yaml";
import type { Manifest } from "../../src/k8s/objects.js";
import { FakeLogs } from "./fake-logs.js";
import { mergePatch } from "./fake-patch.js";
import { discovery, RESOURCES } from "./fake-resources.js";
import { type Change, FakeStore, isWanted, type Place, type Stored } from "./fake-store.js";

export type { Stored } from "./fake-store.js";

export class FakeApi {
  readonly #server: Server;
  readonly #store = new FakeStore();
  readonly #logs = new FakeLogs();
  readonly #watches = new Set<ServerResponse>();
  /** Answers a request before it is looked at; for refusals and outages. */
  intercept: ((method: string, path: string, query: URLSearchParams) => { code: number; message: string } | null) | null = null;

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
    return this.#store.list(resource);
  }

  create(resource: string, object: object, namespace = "default"): Stored {
    return this.#store.create(resource, object, namespace);
  }

  update(resource: string, name: string, change: (object: Stored) => void, namespace = "default"): void {
    this.#store.update({ resource, name, namespace }, change);
  }

  remove(resource: string, name: string, namespace = "default"): void {
    if (resource === "pods") this.#logs.forget(name);
    this.#store.remove({ resource, name, namespace });
  }

  onChange(listener: (resource: string, type: Change["type"], object: Stored) => void): void {
    this.#store.listen(({ resource, type, object }) => listener(resource, type, object));
  }

  /** Ends every watch, and forgets all that was before: what a restart of the server and a compaction do together. */
  compact(): void {
    this.#store.compact();
    for (const response of this.#watches) response.end();
  }

  writeLog(pod: string, ...texts: string[]): void {
    this.#logs.write(pod, texts);
  }

  endLog(pod: string): void {
    this.#logs.end(pod);
  }

  /** Breaks the streams of a log that goes on, as a kubelet that restarts does. */
  breakLog(pod: string): void {
    this.#logs.break(pod);
  }

  // ---- HTTP ----

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<undefined> {
    const url = new URL(request.url ?? "/", this.url);
    const { pathname } = url;
    const method = request.method ?? "GET";
    try {
      const refused = this.intercept?.(method, pathname, url.searchParams);
      if (refused) return fail(response, refused.code, refused.message);
      const discovered = discovery(pathname);
      if (discovered !== undefined) return reply(response, 200, discovered);
      const found = /^(?:\/api\/v1|\/apis\/([^/]+)\/v1)(?:\/namespaces\/([^/]+))?\/([a-z]+)(?:\/([^/]+))?(?:\/(log|status))?$/.exec(
        pathname,
      );
      const [, group = "", namespace = "default", resource = "", name = "", sub] = found ?? [];
      if (RESOURCES[resource]?.group !== group) return fail(response, 404, "the server could not find the requested resource");
      if (sub === "log") {
        if (!this.#logs.has(name)) return fail(response, 404, `pods "${name}" not found`);
        this.#logs.send(response, name, url.searchParams);
        return;
      }
      if (method === "GET" && name === "") {
        return url.searchParams.get("watch") === "true"
          ? this.#sendWatch(response, resource, namespace, url.searchParams)
          : this.#sendList(response, resource, namespace, url.searchParams);
      }
      await this.#answerFor({ resource, name, namespace }, request, response, url.searchParams);
    } catch (error) {
      fail(response, 400, (error as Error).message);
    }
  }

  /** A request for one object. */
  async #answerFor(place: Place, request: IncomingMessage, response: ServerResponse, query: URLSearchParams): Promise<undefined> {
    const { resource, name, namespace } = place;
    const existing = this.#store.get(place);
    const isApply = request.method === "PATCH" && (request.headers["content-type"] ?? "").startsWith("application/apply-patch");
    if (!existing && !isApply) return fail(response, 404, `${resource} "${name}" not found`);
    switch (request.method) {
      case "GET":
        return reply(response, 200, existing);
      case "DELETE":
        this.remove(resource, name, namespace);
        return reply(response, 200, { kind: "Status", apiVersion: "v1", status: "Success" });
      case "PATCH": {
        const body = parse(await textOf(request)) as Manifest;
        if (isApply) {
          const answer = this.#store.apply(place, body, query);
          return "message" in answer ? fail(response, answer.code, answer.message) : reply(response, answer.code, answer.object);
        }
        this.#store.update(place, (object) => mergePatch(object, body));
        return reply(response, 200, this.#store.get(place));
      }
      default:
        return fail(response, 405, `${request.method} is not for this server`);
    }
  }

  #sendList(response: ServerResponse, resource: string, namespace: string, query: URLSearchParams): undefined {
    const { group = "", version, kind } = RESOURCES[resource] ?? {};
    // Of what kind items are, a list says once.
    const items = this.#store
      .list(resource)
      .filter((object) => isWanted(object, namespace, query))
      .map(({ apiVersion: _, kind: __, ...item }) => item);
    const apiVersion = group === "" ? version : `${group}/${version}`;
    reply(response, 200, { apiVersion, kind: `${kind}List`, metadata: { resourceVersion: String(this.#store.version) }, items });
  }

  #sendWatch(response: ServerResponse, resource: string, namespace: string, query: URLSearchParams): undefined {
    const from = Number(query.get("resourceVersion") ?? this.#store.version);
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    if (from < this.#store.oldest) {
      response.end(
        `${JSON.stringify({ type: "ERROR", object: statusOf(410, `too old resource version: ${from} (${this.#store.oldest})`) })}\n`,
      );
      return;
    }
    const send = (change: Change): void => {
      if (change.resource !== resource || change.version <= from || !isWanted(change.object, namespace, query)) return;
      response.write(`${JSON.stringify({ type: change.type, object: change.object })}\n`);
    };
    for (const change of this.#store.changes) send(change);
    if (query.get("allowWatchBookmarks") === "true") {
      const { group = "", version, kind } = RESOURCES[resource] ?? {};
      const metadata = { resourceVersion: String(this.#store.version), creationTimestamp: null };
      const object = { apiVersion: group === "" ? version : `${group}/${version}`, kind, metadata };
      response.write(`${JSON.stringify({ type: "BOOKMARK", object })}\n`);
    }
    const forget = this.#store.listen(send);
    this.#watches.add(response);
    response.on("close", () => {
      forget();
      this.#watches.delete(response);
    });
  }
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
