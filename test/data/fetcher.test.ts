import { once } from "node:events";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { delimiter, join } from "node:path";
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { createNetworkFetcher, defaultCacheFolder } from "../../src/data/sources/fetcher.js";
import { failureOf, temporaryFolder } from "./toy.js";

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("download", () => {
  it("writes what the server gives and tells how far it is", async () => {
    const url = await serve((_, response) => response.setHeader("content-length", 6).end("abcdef"));
    const path = join(await temporaryFolder(), "file");
    const seen: [number, number | null][] = [];
    await createNetworkFetcher().download(url, path, { onBytes: (done, total) => seen.push([done, total]) });
    expect(await readFile(path, "utf8")).toBe("abcdef");
    expect(seen.at(-1)).toEqual([6, 6]);
  });

  it.each<[string, RequestListener, RegExp]>([
    ["answers with an error", (_, response) => response.writeHead(404).end(), /HTTP status 404/],
    ["never answers", () => undefined, /no answer within 50 ms/],
    ["falls silent half-way", (_, response) => void response.writeHead(200, { "content-length": 9 }).write("abc"), /no data for 60 ms/],
    [
      "hangs up half-way",
      (request, response) => void response.writeHead(200, { "content-length": 9 }).write("abc", () => request.destroy()),
      /./,
    ],
  ])("is a NETWORK error with its reason when the server %s", async (_, listener, reason) => {
    const url = await serve(listener);
    const fetcher = createNetworkFetcher({ connectTimeoutMs: 50, stallTimeoutMs: 60 });
    const failure = await failureOf(async () => fetcher.download(url, join(await temporaryFolder(), "file"), {}));
    expect(failure).toMatchObject({ code: "NETWORK", message: expect.stringMatching(reason) });
  });

  it("is a NETWORK error when nothing listens there, and ends at once when it is stopped", async () => {
    const path = join(await temporaryFolder(), "file");
    expect(await failureOf(() => createNetworkFetcher().download("http://127.0.0.1:1/x", path, {}))).toMatchObject({ code: "NETWORK" });
    const url = await serve(() => undefined);
    await expect(createNetworkFetcher().download(url, path, { signal: AbortSignal.timeout(30) })).rejects.toMatchObject({
      name: "TimeoutError",
    });
  });
});

describe("packPackage", () => {
  afterEach(() => vi.unstubAllEnvs());

  /** An `npm` that does this, first on the path. */
  async function npmThat(script: string): Promise<void> {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "npm"), `#!/bin/sh\n${script}\n`);
    await chmod(join(folder, "npm"), 0o755);
    vi.stubEnv("PATH", `${folder}${delimiter}${process.env.PATH}`);
  }

  it("takes the tarball that npm pack writes", async () => {
    await npmThat('test "$1 $2 $3" = "pack thing@1.0.0 --pack-destination" && echo tarball > "$4/thing-1.0.0.tgz"');
    const path = join(await temporaryFolder(), "kept.tgz");
    await createNetworkFetcher().packPackage("thing@1.0.0", path, {});
    expect(await readFile(path, "utf8")).toBe("tarball\n");
  });

  it("is a NETWORK error with npm's own words when npm fails", async () => {
    await npmThat("echo 'npm error code E404' >&2; exit 1");
    const failure = await failureOf(async () => createNetworkFetcher().packPackage("thing@1.0.0", join(await temporaryFolder(), "x"), {}));
    expect(failure).toMatchObject({ code: "NETWORK", message: "npm pack thing@1.0.0 failed (status 1): npm error code E404" });
  });
});

describe("cache folder", () => {
  it("is ISOERG_CACHE, else in the user's cache folder", () => {
    expect(defaultCacheFolder({ ISOERG_CACHE: "/here" })).toBe("/here");
    expect(defaultCacheFolder({ XDG_CACHE_HOME: "/there" })).toBe("/there/isoerg");
    expect(defaultCacheFolder({})).toMatch(/\.cache\/isoerg$/);
  });
});
