/** One contract for folders and buckets; the bucket through Amazon's SDK, over HTTP, to a server that checks signatures. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createFolderStore } from "../../src/storage/folder-store.js";
import { type ObjectStore, readWhole } from "../../src/storage/object-store.js";
import { temporaryFolder } from "../data/toy.js";
import { openForTest, s3ForTest } from "./kit.js";

const kinds: [string, () => Promise<ObjectStore>][] = [
  ["folder", async () => createFolderStore(join(await temporaryFolder(), "store"))],
  ["s3", async () => openForTest(await s3ForTest({ pageSize: 3 }))],
];

const text = (content: string): Uint8Array => new TextEncoder().encode(content);
const large = Uint8Array.from({ length: 20 * 2 ** 20 }, (_, i) => (i * 2_654_435_761) >>> 24);

describe.each(kinds)("an object store (%s)", (_, open) => {
  it("gives back what was put, whole and in part", async () => {
    const store = await open();
    await store.put("x/one", [text("abc"), text(""), text("defg")]);
    expect(await store.get("x/one")).toEqual(text("abcdefg"));
    expect(await store.get("x/one", { range: { from: 2, to: 5 } })).toEqual(text("cde"));
    expect(await store.get("x/one", { range: { from: 3, to: 3 } })).toEqual(text(""));
    await store.put("x/one", [text("again")]);
    expect(await store.get("x/one")).toEqual(text("again"));
    await store.put("x/empty", []);
    expect(await store.get("x/empty")).toEqual(text(""));
    expect(await store.head("x/empty")).toMatchObject({ sizeBytes: 0 });
  });

  it("carries objects of several parts, to the byte", async () => {
    const store = await open();
    const pieces = [large.subarray(0, 1), large.subarray(1, 17 * 2 ** 20 + 3), large.subarray(17 * 2 ** 20 + 3)];
    await store.put("large", pieces);
    const bytes = await readWhole(store, { key: "large", sizeBytes: large.length });
    expect(Buffer.compare(bytes, large)).toBe(0);
  });

  it("tells of an object without reading it", async () => {
    const store = await open();
    expect(await store.head("nothing")).toBeNull();
    await store.put("some", [text("abc")], { sha256: "0".repeat(64) });
    expect(await store.head("some")).toMatchObject({ sizeBytes: 3 });
    expect(["0".repeat(64), null]).toContain((await store.head("some"))?.sha256);
  });

  it("lists all keys of a prefix in their order, over several pages", async () => {
    const store = await open();
    const keys = ["a", "b/1", "b/10", "b/2", "b/3", "b/4", "b/5/6", "b/7", "c & <d>"];
    for (const key of [...keys].reverse()) await store.put(key, [text(key)]);
    const found = async (prefix: string): Promise<string[]> => {
      const entries = [];
      for await (const entry of store.list(prefix)) entries.push(entry);
      for (const { key, sizeBytes } of entries) expect(sizeBytes).toBe(key.length);
      return entries.map(({ key }) => key);
    };
    expect(await found("")).toEqual(keys);
    expect(await found("b/")).toEqual(keys.slice(1, 8));
    expect(await found("none")).toEqual([]);
  });

  it("lets one of several conditional puts through, and none where there is an object", async () => {
    const store = await open();
    const puts = await Promise.allSettled(["p", "q", "r"].map((content) => store.put("only", [text(content)], { ifAbsent: true })));
    const numDone = puts.filter(({ status }) => status === "fulfilled").length;
    expect(numDone).toBe(1);
    const kept = await store.get("only");
    for (const result of puts) if (result.status === "rejected") expect(result.reason).toMatchObject({ fault: "exists" });
    await expect(store.put("only", [text("s")], { ifAbsent: true })).rejects.toMatchObject({ fault: "exists" });
    expect(await store.get("only")).toEqual(kept);
  });

  it("names what is missing or shorter than it should be", async () => {
    const store = await open();
    await expect(store.get("nothing")).rejects.toMatchObject({ fault: "missing", message: expect.stringContaining("nothing") });
    await store.put("short", [text("abc")]);
    await expect(store.get("short", { range: { from: 1, to: 9 } })).rejects.toMatchObject({ fault: "short" });
    await expect(store.get("short", { range: { from: 5, to: 9 } })).rejects.toMatchObject({ fault: "short" });
  });

  it("removes an object, also one that is not there", async () => {
    const store = await open();
    await store.put("x/gone", [text("abc")]);
    await store.remove("x/gone");
    await store.remove("x/gone");
    expect(await store.head("x/gone")).toBeNull();
  });

  it("ends with the caller's signal", async () => {
    const store = await open();
    await store.put("some", [text("abc")]);
    const reason = new Error("asked to");
    await expect(store.get("some", { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expect(store.put("other", [text("abc")], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(await store.head("other")).toBeNull();
  });
});
