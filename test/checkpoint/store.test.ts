/** One contract for the store on disk and the store in memory, then what only the disk can suffer. */
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { Deletion } from "../../src/checkpoint/retention.js";
import {
  type CheckpointStore,
  checkpointOfPath,
  createCheckpointStore,
  createMemoryCheckpointStore,
  loadCheckpointFolder,
} from "../../src/checkpoint/store.js";
import { contentOf } from "./content.js";

const folders: string[] = [];
function freshFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "isoerg-store-"));
  folders.push(folder);
  return join(folder, "checkpoints");
}
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const kinds: [string, (keepLast: number, onDelete?: (deletion: Deletion) => void) => CheckpointStore][] = [
  ["folder", (keepLast, onDelete) => createCheckpointStore(freshFolder(), { keepLast, ...(onDelete && { onDelete }) })],
  ["memory", (keepLast, onDelete) => createMemoryCheckpointStore({ keepLast, ...(onDelete && { onDelete }) })],
];

describe.each(kinds)("a checkpoint store (%s)", (_, create) => {
  it("gives back what was saved, to the bit", async () => {
    const store = create(3);
    const path = await store.save(7, contentOf(7));
    const loaded = await store.load(7);
    expect(loaded).toMatchObject({ step: 7, path, warnings: [], state: contentOf(7).state });
    expect(loaded.files).toEqual(contentOf(7).files);
  });

  it("names the newest 'latest'", async () => {
    const store = create(3);
    for (const step of [10, 20, 15]) await store.save(step, contentOf(step)); // 15: taken back to an earlier step
    expect((await store.load("latest")).step).toBe(15);
    expect((await store.list()).map((entry) => entry.step)).toEqual([10, 20, 15]);
  });

  it("replaces a checkpoint of the same step", async () => {
    const store = create(3);
    await store.save(10, contentOf(10));
    await store.save(10, { ...contentOf(11), state: { again: true } });
    expect((await store.load("latest")).state).toEqual({ again: true });
    expect(await store.list()).toHaveLength(1);
  });

  it("keeps the last n and tells what it deleted", async () => {
    const deleted: Deletion[] = [];
    const store = create(2, (deletion) => deleted.push(deletion));
    for (const step of [1, 2, 3, 4]) await store.save(step, contentOf(step));
    expect((await store.list()).map((entry) => entry.step)).toEqual([3, 4]);
    expect(deleted).toEqual([
      { step: 1, reason: "step 1 is older than the last 2 checkpoints" },
      { step: 2, reason: "step 2 is older than the last 2 checkpoints" },
    ]);
  });

  it("says which steps there are when one is asked for that is not", async () => {
    const store = create(3);
    await expect(store.load("latest")).rejects.toMatchObject({
      code: "CHECKPOINT",
      message: expect.stringContaining("no whole checkpoint"),
    });
    await store.save(5, contentOf(5));
    await expect(store.load(6)).rejects.toMatchObject({ code: "CHECKPOINT", hint: "Saved steps: 5." });
    expect(await create(3).list()).toEqual([]);
  });
});

describe("a store on disk", () => {
  it("finds the checkpoints of an earlier process and removes what it left half written", async () => {
    const dir = freshFolder();
    const path = await createCheckpointStore(dir, { keepLast: 3 }).save(1, contentOf(1));
    renameSync(path, join(dir, ".tmp-step-000002-2"));
    const second = createCheckpointStore(dir, { keepLast: 3 });
    await expect(second.load("latest")).rejects.toMatchObject({ code: "CHECKPOINT" });
    await second.save(3, contentOf(3));
    expect(readdirSync(dir).sort()).toEqual(["latest", "step-000003"]);
    expect(readFileSync(join(dir, "latest"), "utf8")).toBe("step-000003\n");
  });

  it("finds a checkpoint that was displaced when the process died", async () => {
    const dir = freshFolder();
    const store = createCheckpointStore(dir, { keepLast: 3 });
    renameSync(await store.save(4, contentOf(4)), join(dir, ".old-step-000004"));
    expect((await store.load("latest")).step).toBe(4);
    await createCheckpointStore(dir, { keepLast: 3 }).save(5, contentOf(5));
    expect(readdirSync(dir).sort()).toEqual(["latest", "step-000004", "step-000005"]);
  });

  it.each([
    ["an altered tensor", "model.safetensors was altered: its sha256", (path: string) => flip(join(path, "model.safetensors"), -1)],
    ["a short file", "buffer.safetensors has ", (path: string) => truncateSync(join(path, "buffer.safetensors"), 20)],
    ["a missing file", "optimizer.safetensors is missing", (path: string) => rmSync(join(path, "optimizer.safetensors"))],
    ["an altered state", "state.json was altered", (path: string) => flip(join(path, "state.json"), 12)],
    ["no manifest", "manifest.json is missing", (path: string) => rmSync(join(path, "manifest.json"))],
    ["a torn manifest", "manifest.json is not JSON", (path: string) => truncateSync(join(path, "manifest.json"), 30)],
    [
      "another manifest",
      "manifest.json is not a checkpoint's manifest",
      (path: string) => writeFileSync(join(path, "manifest.json"), "{}"),
    ],
  ])("names %s, and 'latest' takes the one before", async (_, message, harm) => {
    const dir = freshFolder();
    const store = createCheckpointStore(dir, { keepLast: 3 });
    await store.save(1, contentOf(1));
    harm(await store.save(2, contentOf(2)));
    await expect(store.load(2)).rejects.toMatchObject({
      code: "CHECKPOINT",
      message: expect.stringContaining(message),
      hint: expect.stringContaining("earlier"),
    });
    const loaded = await store.load("latest");
    expect(loaded.step).toBe(1);
    expect(loaded.warnings.join()).toContain(message);
    // The next save removes the torn one and keeps the good ones.
    await store.save(3, contentOf(3));
    expect((await store.list()).map((entry) => entry.step)).toEqual([1, 3]);
  });

  it("does without the pointer", async () => {
    const dir = freshFolder();
    const store = createCheckpointStore(dir, { keepLast: 3 });
    for (const step of [1, 2]) await store.save(step, contentOf(step));
    rmSync(join(dir, "latest"));
    expect(await store.load("latest")).toMatchObject({ step: 2, warnings: [expect.stringContaining("latest is missing")] });
    writeFileSync(join(dir, "latest"), "step-000099\n");
    expect(await store.load("latest")).toMatchObject({ step: 2, warnings: [expect.stringContaining("names 'step-000099'")] });
  });

  it("refuses a folder under another step's name", async () => {
    const dir = freshFolder();
    const store = createCheckpointStore(dir, { keepLast: 3 });
    renameSync(await store.save(1, contentOf(1)), join(dir, "step-000009"));
    await expect(store.load(9)).rejects.toThrow("its manifest says step 1");
  });

  it("loads one folder by its path, wherever it lies", async () => {
    const dir = freshFolder();
    const path = await createCheckpointStore(dir, { keepLast: 3 }).save(1, contentOf(1));
    renameSync(path, join(dir, "best"));
    expect((await loadCheckpointFolder(join(dir, "best"))).files).toEqual(contentOf(1).files);
    expect(checkpointOfPath("runs/a/checkpoints/step-000500/")).toMatchObject({ step: 500 });
    expect(checkpointOfPath("runs/a")).toBeUndefined();
  });
});

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  const index = at < 0 ? bytes.length + at : at;
  bytes.writeUInt8((bytes[index] ?? 0) ^ 1, index);
  writeFileSync(path, bytes);
}
