/** Checkpoints as objects: the contract of the folder's store, and what only a store over a network can suffer. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createObjectCheckpoints } from "../../src/checkpoint/object-checkpoints.js";
import type { Deletion } from "../../src/checkpoint/retention.js";
import type { CheckpointStore, CheckpointStoreOptions } from "../../src/checkpoint/store.js";
import { createFolderStore } from "../../src/storage/folder-store.js";
import { type ObjectStore, StoreError } from "../../src/storage/object-store.js";
import { temporaryFolder } from "../data/toy.js";
import { openForTest, s3ForTest } from "../storage/kit.js";
import { contentOf } from "./content.js";

type Options = Omit<CheckpointStoreOptions, "fileSystem">;

function over(store: ObjectStore, options: Partial<Options> = {}): CheckpointStore {
  return createObjectCheckpoints(async () => store, store.where, { keepLast: 3, ...options });
}

async function keysOf(store: ObjectStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list("")) keys.push(key);
  return keys;
}

const foldersOf = async (store: ObjectStore): Promise<string[]> => [
  ...new Set((await keysOf(store)).map((key) => key.split("/")[0] as string)),
];

const kinds: [string, () => Promise<ObjectStore>][] = [
  ["in a folder", async () => createFolderStore(join(await temporaryFolder(), "checkpoints"))],
  ["in a bucket", async () => openForTest(await s3ForTest({ pageSize: 4 }), { prefix: "runs/one" })],
];

describe.each(kinds)("checkpoints as objects (%s)", (_, open) => {
  it("give back what was saved, to the bit, also to another process", async () => {
    const store = await open();
    const path = await over(store).save(7, contentOf(7));
    expect(path).toBe(`${store.where}/step-000007.000001`);
    for (const which of [7, "latest"] as const) {
      const loaded = await over(store).load(which);
      expect(loaded).toMatchObject({ step: 7, path, warnings: [], state: contentOf(7).state });
      expect(loaded.files).toEqual(contentOf(7).files);
    }
  });

  it("know the newest by the order of saving, and keep one of each step", async () => {
    const store = await open();
    const checkpoints = over(store);
    for (const step of [10, 20, 15]) await checkpoints.save(step, contentOf(step)); // 15: taken back to an earlier step
    expect((await checkpoints.load("latest")).step).toBe(15);
    expect((await checkpoints.list()).map(({ step }) => step)).toEqual([10, 20, 15]);
    await checkpoints.save(10, { ...contentOf(11), state: { again: true } });
    expect((await over(store).load("latest")).state).toEqual({ again: true });
    expect((await over(store).list()).map(({ step }) => step)).toEqual([20, 15, 10]);
    expect(await foldersOf(store)).toEqual(["step-000010.000004", "step-000015.000003", "step-000020.000002"]);
  });

  it("keep the last ones and the best, as a folder does, and tell what went", async () => {
    const store = await open();
    const deleted: Deletion[] = [];
    const checkpoints = over(store, {
      keepLast: 1,
      keepBest: { count: 1, by: "loss", higherIsBetter: false },
      onDelete: (deletion) => deleted.push(deletion),
    });
    for (const [step, loss] of [
      [1, 3],
      [2, 1],
      [3, 2],
      [4, 5],
    ] as const)
      await checkpoints.save(step, contentOf(step), { metrics: { loss } });
    expect((await checkpoints.list()).map(({ step, score }) => [step, score])).toEqual([
      [2, 1],
      [4, 5],
    ]);
    expect(deleted.map(({ step }) => step)).toEqual([1, 3]);
    await checkpoints.discard([4], "the guard goes back");
    expect((await over(store).load("latest")).step).toBe(2);
    expect(await foldersOf(store)).toEqual(["step-000002.000002"]);
  });

  it("say which steps there are when one is asked for that is not", async () => {
    const checkpoints = over(await open());
    await expect(checkpoints.load("latest")).rejects.toMatchObject({
      code: "CHECKPOINT",
      message: expect.stringContaining("no whole checkpoint"),
    });
    await checkpoints.save(5, contentOf(5));
    await expect(checkpoints.load(6)).rejects.toMatchObject({ code: "CHECKPOINT", hint: "Saved steps: 5." });
  });
});

describe("a checkpoint that is damaged", () => {
  it.each([
    ["altered", "was altered", (bytes: Uint8Array) => bytes.map((byte, i) => (i === bytes.length - 1 ? byte ^ 1 : byte))],
    ["cut short", "bytes, manifest.json says", (bytes: Uint8Array) => bytes.subarray(0, 20)],
  ])("(%s) is named, and the one before is used", async (_, message, harm) => {
    const store = createFolderStore(await temporaryFolder());
    for (const step of [1, 2]) await over(store).save(step, contentOf(step));
    const key = "step-000002.000002/model.safetensors";
    await store.put(key, [harm(await store.get(key))]);
    await expect(over(store).load(2)).rejects.toMatchObject({ code: "CHECKPOINT", message: expect.stringContaining(message) });
    const checkpoints = over(store);
    expect(await checkpoints.load("latest")).toMatchObject({ step: 1, warnings: [expect.stringContaining("the one before it is used")] });
    await checkpoints.save(3, contentOf(3));
    expect(await foldersOf(store)).toEqual(["step-000001.000001", "step-000003.000003"]);
  });
});

/** Changes count; the n-th fails, alone (`busy`) or with everything after it (`dead`). */
function faulty(store: ObjectStore, failAt: number, fault: "busy" | "dead"): { store: ObjectStore; numChanges: () => number } {
  let count = 0;
  const guard = async (action: () => Promise<void>): Promise<void> => {
    const index = count++;
    if (index !== failAt && !(fault === "dead" && index > failAt)) return action();
    throw new StoreError("unavailable", "503 SlowDown");
  };
  const guarded: ObjectStore = {
    ...store,
    put: (key, pieces, options) => guard(() => store.put(key, pieces, options)),
    remove: (key, signal) => guard(() => store.remove(key, signal)),
  };
  return { store: guarded, numChanges: () => count };
}

describe.each(["busy", "dead"] as const)("a save to a store that is %s", (fault) => {
  it.each([
    ["of the next step", 2],
    ["of the same step again", 1],
  ])("%s leaves a whole checkpoint behind, whichever request fails", async (_, step) => {
    const content = { ...contentOf(step), state: { second: true } };
    const saveWith = async (failAt: number): Promise<{ plain: ObjectStore; saved: boolean; numChanges: number }> => {
      const plain = createFolderStore(await temporaryFolder());
      await over(plain, { keepLast: 1 }).save(1, contentOf(1));
      const { store, numChanges } = faulty(plain, failAt, fault);
      try {
        await over(store, { keepLast: 1 }).save(step, content);
        return { plain, saved: true, numChanges: numChanges() };
      } catch (error) {
        expect(error).toMatchObject({
          code: "CHECKPOINT",
          message: expect.stringContaining("SlowDown"),
          hint: expect.stringContaining("intact"),
        });
        return { plain, saved: false, numChanges: numChanges() };
      }
    };
    const { numChanges } = await saveWith(Number.POSITIVE_INFINITY);
    expect(numChanges).toBe(10); // five files put, five of the one before removed
    for (let failAt = 0; failAt < numChanges; failAt++) {
      const { plain, saved } = await saveWith(failAt);
      expect(saved).toBe(failAt >= 5);
      const after = over(plain, { keepLast: 1 });
      const loaded = await after.load("latest");
      expect(loaded.warnings).toEqual([]);
      if (saved) expect(loaded.state).toEqual({ second: true });
      else expect(loaded.files).toEqual(contentOf(1).files);
      await after.save(3, contentOf(3));
      expect(await foldersOf(plain)).toEqual([expect.stringMatching(/^step-000003\./)]);
    }
  });
});

describe("a store that can't be reached", () => {
  it("is an error, never an absence: no older checkpoint is taken for the newest", async () => {
    const server = await s3ForTest();
    const store = await openForTest(server, { prefix: "runs/one" });
    for (const step of [1, 2]) await over(store).save(step, contentOf(step));
    server.fault = ({ key }) => (key.includes("step-000002") ? { kind: "error", status: 503, code: "SlowDown" } : undefined);
    await expect(over(store).load("latest")).rejects.toMatchObject({ code: "NETWORK" });
    await expect(over(store).list()).rejects.toMatchObject({ code: "NETWORK" });
    server.fault = ({ key, method }) =>
      key.includes("2/model") && method === "GET" ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
    await expect(over(store).load("latest")).rejects.toMatchObject({
      code: "CHECKPOINT",
      message: expect.stringContaining("AccessDenied"),
    });
    server.fault = () => undefined;
    expect((await over(store).load("latest")).step).toBe(2);
  });

  it("does not take another writer's checkpoint for its own", async () => {
    const store = createFolderStore(await temporaryFolder());
    const theirs = over(store);
    await theirs.save(1, contentOf(1));
    // Two coordinators save at once: both choose the same number, one of them wins each name.
    const both = await Promise.allSettled([over(store).save(2, contentOf(2)), over(store).save(2, contentOf(3))]);
    const loaded = await over(store).load("latest");
    expect(loaded).toMatchObject({ step: 2, warnings: [] });
    expect([contentOf(2).files, contentOf(3).files]).toContainEqual(loaded.files); // one of them, whole
    for (const result of both) if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "CHECKPOINT" });
  });
});
