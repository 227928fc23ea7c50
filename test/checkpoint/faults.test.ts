/**
 * A disk that fails, or a process that dies, at each single operation of a save: the checkpoint before must stay loadable,
 * and a save after the fault must work. The operations are counted, not guessed, so a new one is covered by itself.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type FileSystem, machineFileSystem } from "../../src/checkpoint/file-system.js";
import { createCheckpointStore } from "../../src/checkpoint/store.js";
import { contentOf } from "./content.js";

type Fault = "full" | "dead";

/** Changes count; the n-th fails. `full`: it alone fails, with half of a file written. `dead`: it and all after it. */
function faulty(failAt: number, fault: Fault): { fileSystem: FileSystem; numChanges: () => number } {
  let count = 0;
  const guard = async <T>(action: () => Promise<T>, half?: () => Promise<unknown>): Promise<T> => {
    const index = count++;
    if (index !== failAt && !(fault === "dead" && index > failAt)) return action();
    if (index === failAt) await half?.();
    throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
  };
  const disk = machineFileSystem;
  const fileSystem: FileSystem = {
    ...disk,
    makeFolder: (path) => guard(() => disk.makeFolder(path)),
    writeFile: (path, pieces) =>
      guard(
        () => disk.writeFile(path, pieces),
        () => disk.writeFile(path, halfOf(pieces)),
      ),
    rename: (from, to) => guard(() => disk.rename(from, to)),
    remove: (path) => guard(() => disk.remove(path)),
    syncFolder: (path) => guard(() => disk.syncFolder(path)),
  };
  return { fileSystem, numChanges: () => count };
}

function halfOf(pieces: Iterable<Uint8Array>): Uint8Array[] {
  const bytes = Buffer.concat([...pieces]);
  return [bytes.subarray(0, bytes.length >> 1)];
}

/** Saves step 1 soundly, then `step` with a fault. Returns whether that save claimed success. */
async function saveWithFault(dir: string, step: number, failAt: number, fault: Fault): Promise<{ saved: boolean; numChanges: number }> {
  await createCheckpointStore(dir, { keepLast: 1 }).save(1, contentOf(1));
  const { fileSystem, numChanges } = faulty(failAt, fault);
  try {
    await createCheckpointStore(dir, { keepLast: 1, fileSystem }).save(step, { ...contentOf(step), state: { second: true } });
    return { saved: true, numChanges: numChanges() };
  } catch (error) {
    expect(error).toMatchObject({
      code: "CHECKPOINT",
      message: expect.stringContaining("ENOSPC"),
      hint: expect.stringContaining("intact"),
    });
    return { saved: false, numChanges: numChanges() };
  }
}

describe.each<Fault>(["full", "dead"])("a save on a disk that is %s", (fault) => {
  it.each([
    ["of the next step", 2],
    ["of the same step again", 1],
  ])("%s leaves a whole checkpoint behind, whichever operation fails", async (_, step) => {
    const folder = mkdtempSync(join(tmpdir(), "isoerg-faults-"));
    try {
      const { numChanges } = await saveWithFault(join(folder, "count"), step, Number.POSITIVE_INFINITY, fault);
      expect(numChanges).toBeGreaterThan(10);
      let numFailed = 0;
      for (let failAt = 0; failAt < numChanges; failAt++) {
        const dir = join(folder, String(failAt));
        const { saved } = await saveWithFault(dir, step, failAt, fault);
        if (!saved) numFailed++;

        const after = createCheckpointStore(dir, { keepLast: 1 });
        const loaded = await after.load("latest");
        if (saved) expect(loaded.state).toEqual({ second: true });
        else expect([1, step]).toContain(loaded.step);
        if (loaded.step === 1 && step === 2) expect(loaded.files).toEqual(contentOf(1).files);

        await after.save(3, contentOf(3));
        expect((await after.load("latest")).step).toBe(3);
        expect(readdirSync(dir).filter((name) => name !== "latest")).toEqual(["step-000003"]);
      }
      expect(numFailed).toBeGreaterThan(8);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
