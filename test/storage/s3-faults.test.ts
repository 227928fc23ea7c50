/** What a bucket may do to a request: each fault over HTTP, through Amazon's SDK, and what comes of it. */
import { inspect } from "node:util";
import pino from "pino";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { explained, type ObjectStore, readWhole } from "../../src/storage/object-store.js";
import { clientConfig } from "../../src/storage/s3-store.js";
import { ACCESS_KEY, type S3Fault, type S3Request, type S3Server, SECRET_KEY } from "../kit/s3-server.js";
import { openForTest, s3ForTest } from "./kit.js";

const content = Buffer.from("the content of an object");

async function withObject(
  options: Parameters<typeof openForTest>[1] = {},
): Promise<{ server: S3Server; store: ObjectStore; told: string[] }> {
  const server = await s3ForTest();
  const told: string[] = [];
  const store = await openForTest(server, { onRetry: (message) => told.push(message), ...options });
  server.objects.set("a/b/object", { bytes: content, metadata: {} });
  return { server, store, told };
}

const first =
  (fault: S3Fault, isOf: (request: S3Request) => boolean = () => true) =>
  (request: S3Request): S3Fault | undefined =>
    isOf(request) && request.nth === 0 ? fault : undefined;

describe("a request that fails for a while", () => {
  it.each<[string, S3Fault]>([
    ["503 SlowDown", { kind: "error", status: 503, code: "SlowDown" }],
    ["500 InternalError", { kind: "error", status: 500, code: "InternalError" }],
    ["429", { kind: "error", status: 429, code: "TooManyRequests", retryAfter: 0 }],
    ["400 RequestTimeout", { kind: "error", status: 400, code: "RequestTimeout" }],
    ["a torn body", { kind: "truncate", afterBytes: 7 }],
    ["no body at all", { kind: "truncate", afterBytes: 0 }],
    ["a lost answer", { kind: "lose" }],
  ])("is sent again: %s", async (_, fault) => {
    const { server, store, told } = await withObject();
    // A HEAD's answer has no body to say which 400 it is.
    server.fault = first(fault, ({ method }) => method !== "HEAD" || !("status" in fault) || fault.status !== 400);
    expect(Buffer.from(await store.get("object"))).toEqual(content);
    expect(Buffer.from(await store.get("object", { range: { from: 4, to: 11 } }))).toEqual(content.subarray(4, 11));
    await store.put("other", [content]);
    expect((await store.head("other"))?.sizeBytes).toBe(content.length);
    const keys: string[] = [];
    for await (const { key } of store.list("")) keys.push(key);
    expect(keys).toEqual(["object", "other"]);
    expect(server.count("GET", "a/b/object")).toBe(3);
    expect(told[0]).toMatch(/^GET s3:\/\/models\/a\/b\/object: .*; attempt 1 of 4 failed; again in/);
  });

  it("ends after the attempts that are allowed, as unavailable", async () => {
    const { server, store } = await withObject();
    server.fault = () => ({ kind: "error", status: 503, code: "SlowDown" });
    const failure = await store.get("object").catch((error: unknown) => error);
    expect(failure).toMatchObject({ fault: "unavailable", message: expect.stringMatching(/HTTP 503 SlowDown.*\(4 attempts failed\)/) });
    expect(server.count("GET")).toBe(4);
    expect(explained(failure, "the shard can't be read")).toMatchObject({ code: "NETWORK", hint: expect.stringContaining("endpoint") });
  });

  it("has a deadline, for a server that is silent and for a body that stands still", async () => {
    const { server, store } = await withObject({ timeoutMs: 800 });
    server.fault = ({ nth }) => (nth === 0 ? { kind: "hang" } : nth === 1 ? { kind: "stall", afterBytes: 5 } : undefined);
    expect(Buffer.from(await store.get("object"))).toEqual(content);
    expect(server.count("GET")).toBe(3);
  });

  it("is a server that is not there", async () => {
    const { server, store } = await withObject();
    await server.close();
    await expect(store.get("object")).rejects.toMatchObject({ fault: "unavailable", message: expect.stringContaining("ECONNREFUSED") });
  });
});

describe("a request that would fail again", () => {
  it.each<[string, S3Fault, object]>([
    ["403 AccessDenied", { kind: "error", status: 403, code: "AccessDenied" }, { fault: "denied" }],
    ["400 InvalidArgument", { kind: "error", status: 400, code: "InvalidArgument" }, { fault: "refused" }],
    [
      "no such bucket",
      { kind: "error", status: 404, code: "NoSuchBucket" },
      { fault: "refused", message: expect.stringContaining("bucket") },
    ],
    ["another region", { kind: "error", status: 301, code: "PermanentRedirect" }, { message: expect.stringContaining("storage.region") }],
  ])("is sent once: %s", async (_, fault, expected) => {
    const { server, store } = await withObject();
    server.fault = () => fault;
    await expect(store.get("object")).rejects.toMatchObject(expected);
    expect(server.requests).toHaveLength(1);
  });
});

describe("a put", () => {
  it("knows its own object when the answer to a conditional put was lost", async () => {
    const { server, store } = await withObject();
    server.fault = first({ kind: "lose" }, ({ method }) => method === "PUT");
    await store.put("new", [content], { ifAbsent: true });
    expect(server.count("PUT", "a/b/new")).toBe(2);
    expect(server.objects.get("a/b/new")?.bytes).toEqual(content);
    // Another writer's object, at the same moment, is not taken for its own.
    server.fault = ({ method, key, nth }) => {
      if (method === "PUT" && key === "a/b/theirs" && nth === 0) server.objects.set(key, { bytes: content, metadata: {} });
      return method === "PUT" && nth === 0 ? { kind: "error", status: 503, code: "SlowDown" } : undefined;
    };
    await expect(store.put("theirs", [content], { ifAbsent: true })).rejects.toMatchObject({ fault: "exists" });
  });

  it("sends a part again, not the others, and leaves no parts when it is given up", async () => {
    const { server, store } = await withObject();
    const pieces = [Buffer.alloc(33 * 2 ** 20, 7)];
    const isPart = (number: string) => (request: S3Request) => request.method === "PUT" && request.query.get("partNumber") === number;
    let numFailed = 0;
    server.fault = (request) => (isPart("2")(request) && numFailed++ === 0 ? { kind: "error", status: 503, code: "SlowDown" } : undefined);
    await store.put("parts", pieces, { ifAbsent: true });
    expect(server.requests.filter(isPart("1"))).toHaveLength(1);
    expect(server.requests.filter(isPart("2"))).toHaveLength(2);
    expect(server.objects.get("a/b/parts")?.bytes.length).toBe(33 * 2 ** 20);
    expect(server.uploads.size).toBe(0);

    server.fault = (request) => (isPart("3")(request) ? { kind: "error", status: 403, code: "AccessDenied" } : undefined);
    await expect(store.put("given-up", pieces)).rejects.toMatchObject({ fault: "denied" });
    expect(server.uploads.size).toBe(0);
    expect(server.objects.has("a/b/given-up")).toBe(false);

    let numAsked = 0;
    server.fault = (request) =>
      request.method === "POST" && request.query.has("uploadId") && numAsked++ === 0 ? { kind: "lose" } : undefined;
    await store.put("completed-unheard", pieces, { ifAbsent: true });
    expect(server.objects.get("a/b/completed-unheard")?.bytes.length).toBe(33 * 2 ** 20);
  });
});

describe("a large object", () => {
  it("is read in pieces: what breaks costs one of them", async () => {
    const { server, store } = await withObject();
    const bytes = Buffer.from(Uint8Array.from({ length: 20 * 2 ** 20 }, (_, i) => i >>> 8));
    server.objects.set("a/b/large", { bytes, metadata: {} });
    let numTorn = 0;
    server.fault = ({ range }) =>
      range?.startsWith("bytes=8388608-") && numTorn++ === 0 ? { kind: "truncate", afterBytes: 1000 } : undefined;
    expect(Buffer.compare(await readWhole(store, { key: "large", sizeBytes: bytes.length }), bytes)).toBe(0);
    expect(server.count("GET", "a/b/large")).toBe(4);
  });
});

describe("credentials", () => {
  it("are in no message, no log and no error, even if a server repeats them", async () => {
    const { server, store, told } = await withObject();
    const secret = `${ACCESS_KEY} ${SECRET_KEY}`;
    const faults: S3Fault[] = [
      { kind: "error", status: 503, code: "SlowDown", message: `You are ${secret}` },
      { kind: "error", status: 403, code: "InvalidAccessKeyId", message: `The key ${secret} does not exist` },
    ];
    server.fault = () => faults.shift();
    const failure = await store.get("object").catch((error: unknown) => error);
    const lines: string[] = [];
    const log = pino({}, { write: (line: string) => void lines.push(line) });
    const people = explained(failure, "the shard can't be read");
    log.error({ err: failure, notice: told[0] }, "storage");
    log.error({ err: people }, "storage");
    const everything = [inspect(failure, { depth: 9 }), inspect(people, { depth: 9, showHidden: true }), ...told, ...lines].join("\n");
    expect(everything).toContain("InvalidAccessKeyId");
    expect(everything).toContain("SlowDown");
    for (const word of [ACCESS_KEY, SECRET_KEY, "Authorization", "AWS4-HMAC"]) expect(everything).not.toContain(word);
  });

  it("that are wrong, or missing, are named as such", async () => {
    const { server } = await withObject();
    process.env.AWS_SECRET_ACCESS_KEY = "another";
    const wrong = await openForTest(server);
    await expect(wrong.get("object")).rejects.toMatchObject({ fault: "denied", message: expect.stringContaining("SignatureDoesNotMatch") });
    delete process.env.AWS_ACCESS_KEY_ID;
    vi.stubEnv("AWS_CONFIG_FILE", "/nowhere");
    vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere");
    onTestFinished(() => void vi.unstubAllEnvs());
    const none = await openForTest(server);
    const failure = await none.get("object").catch((error: unknown) => error);
    expect(failure).toMatchObject({ fault: "denied", message: expect.stringContaining("no credentials were found") });
    expect(explained(failure, "it can't be read")).toMatchObject({ code: "DATA", hint: expect.stringContaining("AWS_PROFILE") });
  });
});

describe("where requests go", () => {
  const open = { endpoint: null, region: null, pathStyle: null, retrying: { policy: { attempts: 1, baseMs: 0, capMs: 0 }, timeoutMs: 1 } };

  it("is what the configuration says, else the environment, else Amazon", () => {
    expect(
      clientConfig({ ...open, endpoint: "https://here:9000", region: "r" }, { AWS_ENDPOINT_URL: "http://there", AWS_REGION: "s" }),
    ).toMatchObject({
      endpoint: "https://here:9000",
      region: "r",
      forcePathStyle: true,
    });
    expect(clientConfig(open, { AWS_ENDPOINT_URL_S3: "http://s3", AWS_ENDPOINT_URL: "http://all", AWS_DEFAULT_REGION: "d" })).toMatchObject(
      {
        endpoint: "http://s3",
        region: "d",
        forcePathStyle: true,
      },
    );
    expect(clientConfig({ ...open, pathStyle: false }, { AWS_ENDPOINT_URL: "http://all" })).toMatchObject({
      region: "us-east-1",
      forcePathStyle: false,
    });
    const amazon = clientConfig(open, {});
    expect(amazon).not.toHaveProperty("endpoint");
    expect(amazon).not.toHaveProperty("region"); // the profile's, which the SDK reads
    expect(amazon.forcePathStyle).toBe(false);
  });
});
