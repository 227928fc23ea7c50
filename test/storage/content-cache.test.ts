/** The cache that processes of one host share: its bound, what it believes, and what a process that is killed leaves behind. */
import { type ChildProcess, fork } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { type Content, ContentCache } from "../../src/storage/content-cache.js";
import { type CachedFile, evictions } from "../../src/storage/eviction.js";
import { packageRoot } from "../../src/util/package.js";
import { temporaryFolder } from "../data/toy.js";
import * as fc from "../kit/property.js";

const KiB = 1024;

function contentOf(number: number, sizeBytes = KiB): { content: Content; bytes: Buffer } {
  const bytes = Buffer.alloc(sizeBytes, number);
  return { bytes, content: { sizeBytes, sha256: createHash("sha256").update(bytes).digest("hex") } };
}

async function sizeOf(folder: string): Promise<number> {
  const sizes = (await readdir(folder)).map((name) =>
    stat(join(folder, name))
      .then(({ size }) => size)
      .catch(() => 0),
  );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

const filesIn = async (folder: string): Promise<string[]> => (await readdir(folder)).filter((name) => !name.startsWith(".")).sort();

describe("what makes room", () => {
  const file = (name: string, sizeBytes: number, usedAtMs: number): CachedFile => ({ name, sizeBytes, usedAtMs });

  it("is the least recently used, and no more than must go", () => {
    const files = [file("new", 40, 9), file("old", 10, 1), file("older", 30, 0), file("mid", 20, 5)];
    expect(evictions(files, 5, 105)).toEqual([]);
    expect(evictions(files, 6, 105)).toEqual(["older"]);
    expect(evictions(files, 40, 105)).toEqual(["older", "old"]);
    expect(evictions(files, 105, 105)).toEqual(["older", "old", "mid", "new"]);
    expect(evictions(files, 106, 105)).toBeNull();
  });

  it("always leaves the bound kept, by a beginning of the files in their order", () => {
    const anyFile = fc.record({ name: fc.string({ minLength: 1, maxLength: 4 }), sizeBytes: fc.nat(50), usedAtMs: fc.nat(20) });
    fc.assert(
      fc.property(fc.uniqueArray(anyFile, { selector: ({ name }) => name }), fc.nat(100), fc.nat(300), (files, newBytes, maxBytes) => {
        const gone = evictions(files, newBytes, maxBytes);
        if (newBytes > maxBytes) {
          expect(gone).toBeNull();
          return;
        }
        const left = files.filter(({ name }) => !gone?.includes(name));
        const total = (of: readonly CachedFile[]): number => of.reduce((sum, { sizeBytes }) => sum + sizeBytes, newBytes);
        expect(total(left)).toBeLessThanOrEqual(maxBytes);
        const last = files.find(({ name }) => name === gone?.at(-1));
        if (last) expect(total([...left, last])).toBeGreaterThan(maxBytes);
        const youngest = Math.max(-1, ...files.filter(({ name }) => gone?.includes(name)).map(({ usedAtMs }) => usedAtMs));
        for (const { usedAtMs } of left) expect(usedAtMs).toBeGreaterThanOrEqual(youngest);
      }),
    );
  });
});

describe("a cache", () => {
  it("fetches once, and finds it again in another process's cache object", async () => {
    const folder = join(await temporaryFolder(), "cache");
    const { content, bytes } = contentOf(1);
    let numFetched = 0;
    const fetch = async (): Promise<Uint8Array> => {
      numFetched++;
      return bytes;
    };
    const caches = [0, 1].map(() => new ContentCache({ folder, maxBytes: 10 * KiB }));
    for (const cache of [...caches, ...caches]) expect(Buffer.from(await cache.get(content, fetch))).toEqual(bytes);
    expect(numFetched).toBe(1);
    expect(caches.map(({ counts }) => counts)).toEqual([
      { hits: 1, fetched: 1 },
      { hits: 2, fetched: 0 },
    ]);
    // Several at once: one fetches, the others wait.
    const { content: other, bytes: otherBytes } = contentOf(2);
    const fetchOther = async (): Promise<Uint8Array> => {
      numFetched++;
      return otherBytes;
    };
    const all = await Promise.all([...caches, ...caches].map((cache) => cache.get(other, fetchOther)));
    expect(numFetched).toBe(2);
    for (const found of all) expect(Buffer.from(found)).toEqual(otherBytes);
  });

  it("never holds more than its bound, and keeps what was used last", async () => {
    const folder = await temporaryFolder();
    const cache = new ContentCache({ folder, maxBytes: 3 * KiB });
    const contents = [1, 2, 3, 4].map((number) => contentOf(number));
    for (const [i, { content, bytes }] of contents.slice(0, 3).entries()) {
      await cache.get(content, async () => bytes);
      await utimes(join(folder, content.sha256), i, i); // a clock of the test's own
    }
    const [one, , three, four] = contents as [(typeof contents)[0], unknown, (typeof contents)[0], (typeof contents)[0]];
    await cache.get(one.content, () => Promise.reject(new Error("it is there"))); // used now
    await cache.get(four.content, async () => four.bytes);
    expect(await filesIn(folder)).toEqual([one, three, four].map(({ content }) => content.sha256).sort());
    expect(await sizeOf(folder)).toBe(3 * KiB);
    const large = contentOf(9, 4 * KiB); // larger than all of it: given, not kept
    expect((await cache.get(large.content, async () => large.bytes)).length).toBe(4 * KiB);
    expect(await filesIn(folder)).toHaveLength(3);
  });

  it("believes no file: one that was altered, cut short or left half written is fetched again", async () => {
    const folder = await temporaryFolder();
    const { content, bytes } = contentOf(5);
    const path = join(folder, content.sha256);
    for (const damaged of [Buffer.alloc(KiB, 6), bytes.subarray(1), Buffer.alloc(0)]) {
      await writeFile(path, damaged);
      await writeFile(join(folder, ".write-0123"), bytes.subarray(10));
      const cache = new ContentCache({ folder, maxBytes: 2 * KiB });
      expect(Buffer.from(await cache.get(content, async () => bytes))).toEqual(bytes);
      expect(cache.counts).toEqual({ hits: 0, fetched: 1 });
      expect(await readFile(path)).toEqual(bytes);
      expect(await readdir(folder)).toEqual([content.sha256]); // and the other process's piece is gone
    }
  });

  it("passes a failure on, and lets the next one try", async () => {
    const folder = await temporaryFolder();
    const cache = new ContentCache({ folder, maxBytes: 2 * KiB });
    const { content, bytes } = contentOf(5);
    await expect(cache.get(content, () => Promise.reject(new Error("no network")))).rejects.toThrow("no network");
    expect(Buffer.from(await cache.get(content, async () => bytes))).toEqual(bytes);
  });

  it("does without a folder that can't be used, and says so once", async () => {
    const file = join(await temporaryFolder(), "file");
    await writeFile(file, "");
    const told: string[] = [];
    const cache = new ContentCache({ folder: join(file, "cache"), maxBytes: 2 * KiB, onNotice: (message) => told.push(message) });
    const { content, bytes } = contentOf(5);
    for (const _ of [1, 2]) expect(Buffer.from(await cache.get(content, async () => bytes))).toEqual(bytes);
    expect(told).toEqual([expect.stringContaining("nothing is kept in")]);
  });

  it("takes over from a process that died while it fetched", async () => {
    const folder = await temporaryFolder();
    const { content, bytes } = contentOf(5);
    const claim = join(folder, `.claim-${content.sha256}`);
    await writeFile(claim, "");
    await utimes(claim, 1, 1);
    await writeFile(join(folder, `.lock-${Buffer.from(hostname()).toString("hex")}-999999999-ab`), "");
    const cache = new ContentCache({ folder, maxBytes: 2 * KiB });
    expect(Buffer.from(await cache.get(content, async () => bytes))).toEqual(bytes);
    expect(await readdir(folder)).toEqual([content.sha256]);
  });
});

// Real processes over the compiled program, each told what to ask for.
const PROGRAM = `
  import { ContentCache } from ${JSON.stringify(join(packageRoot, "dist", "src", "storage", "content-cache.js"))};
  const [folder, maxBytes] = process.argv.slice(-2);
  const cache = new ContentCache({ folder, maxBytes: Number(maxBytes) });
  const { createHash } = await import("node:crypto");
  process.on("message", async ({ numbers, sizeBytes, hangs }) => {
    let numWrong = 0;
    for (const number of numbers) {
      const bytes = Buffer.alloc(sizeBytes, number);
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      const fetch = () => {
        if (hangs) { process.send({ kind: "fetching" }); return new Promise(() => setInterval(() => {}, 1000)); }
        return Promise.resolve(bytes);
      };
      const found = await cache.get({ sha256, sizeBytes }, fetch);
      if (Buffer.compare(found, bytes) !== 0) numWrong++;
    }
    process.send({ kind: "done", numWrong, ...cache.counts });
  });
`;

async function startProcess(folder: string, maxBytes: number): Promise<ChildProcess> {
  const program = join(await temporaryFolder(), "program.mjs");
  await writeFile(program, PROGRAM);
  const child = fork(program, [folder, String(maxBytes)]);
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

const answerOf = (child: ChildProcess): Promise<{ kind: string; numWrong: number; hits: number; fetched: number }> =>
  new Promise((resolve) => child.once("message", (message) => resolve(message as never)));

describe("several processes", () => {
  it("share one bound: at no moment is the folder over it", async () => {
    const folder = join(await temporaryFolder(), "cache");
    await mkdir(folder);
    const [size, room] = [64 * KiB, 5];
    const children = await Promise.all([1, 2, 3].map(() => startProcess(folder, room * size)));
    let isOver = false;
    let largest = 0;
    const watching = (async () => {
      while (!isOver) largest = Math.max(largest, await sizeOf(folder));
    })();
    const asked = children.map((child, i) => {
      child.send({ numbers: Array.from({ length: 60 }, (_, n) => (n * (2 * i + 3)) % 12), sizeBytes: size });
      return answerOf(child);
    });
    const answers = await Promise.all(asked);
    isOver = true;
    await watching;
    for (const answer of answers) expect(answer).toMatchObject({ kind: "done", numWrong: 0 });
    expect(largest).toBeGreaterThan(0);
    expect(largest).toBeLessThanOrEqual(room * size);
    expect(await filesIn(folder)).toHaveLength(room);
  });

  it("ask once for what all of them lack", async () => {
    const folder = join(await temporaryFolder(), "cache");
    const children = await Promise.all([1, 2, 3].map(() => startProcess(folder, 100 * KiB)));
    const asked = children.map((child) => {
      child.send({ numbers: [1, 2, 3, 4, 5, 6], sizeBytes: KiB });
      return answerOf(child);
    });
    const answers = await Promise.all(asked);
    expect(answers.reduce((sum, { fetched }) => sum + fetched, 0)).toBe(6);
  });

  it("leave nothing that is taken for good when they are killed while they download", async () => {
    const folder = join(await temporaryFolder(), "cache");
    const child = await startProcess(folder, 100 * KiB);
    child.send({ numbers: [7], sizeBytes: KiB, hangs: true });
    expect(await answerOf(child)).toMatchObject({ kind: "fetching" });
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
    expect(await filesIn(folder)).toEqual([]);
    const { content, bytes } = contentOf(7);
    const claim = join(folder, `.claim-${content.sha256}`);
    await utimes(claim, 1, 1); // as it will be in ten seconds
    const cache = new ContentCache({ folder, maxBytes: 100 * KiB });
    expect(Buffer.from(await cache.get(content, async () => bytes))).toEqual(bytes);
    expect(await readdir(folder)).toEqual([content.sha256]);
  });
});
