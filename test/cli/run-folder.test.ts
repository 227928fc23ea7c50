/** Who may lead a run in a folder: one at a time, and a dead leader keeps nobody out. */
import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { announceLeader, enterRunFolder, leaderOf } from "../../src/cli/train/run-folder.js";
import { smallConfig } from "../kit/small-run.js";

const config = smallConfig();
const options = { resume: false, command: ["train"] };
let folder: string;
beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), "isoerg-folder-")), "run");
  await enterRunFolder(folder, config, options);
});
afterEach(() => rm(join(folder, ".."), { recursive: true }));

const announce = (leader: object): Promise<void> =>
  writeFile(join(folder, "coordinator.json"), `${JSON.stringify({ address: "10.0.0.5:7070", ...leader })}\n`);

describe("a run's folder", () => {
  test("is entered again with the same settings, and refused with others, naming the first that differs", async () => {
    expect(await enterRunFolder(folder, config, options)).toEqual({ kind: "continue", step: 0 });
    const other = smallConfig({ optimizer: { ...config.optimizer, lr: 0.5 } });
    await expect(enterRunFolder(folder, other, options)).rejects.toThrow("optimizer.lr is 0.01 there and 0.5 here");
  });

  test("that holds other things is refused", async () => {
    await rm(join(folder, "config.yaml"));
    await expect(enterRunFolder(folder, config, options)).rejects.toMatchObject({
      code: "USAGE",
      message: expect.stringContaining("is not empty and is not a run"),
    });
  });

  test("tells where its leader is, while there is one", async () => {
    await expect(leaderOf(folder)).rejects.toThrow("nobody leads the run");
    const withdraw = await announceLeader(folder, "127.0.0.1:7070", () => {});
    expect(await leaderOf(folder)).toBe("127.0.0.1:7070");
    await withdraw();
    await expect(leaderOf(folder)).rejects.toThrow("nobody leads the run");
  });

  test("keeps a second leader out while the first is alive", async () => {
    await announce({ pid: process.ppid, host: hostname() });
    await expect(enterRunFolder(folder, config, options)).rejects.toMatchObject({
      code: "USAGE",
      message: expect.stringContaining("is going on: process"),
    });
  });

  test("keeps a second leader out while one on another host refreshes its file, with the exit code of another attempt", async () => {
    await announce({ pid: 1, host: "elsewhere" });
    const file = join(folder, "coordinator.json");
    const timer = setInterval(() => void utimes(file, new Date(), new Date()), 100);
    await expect(enterRunFolder(folder, config, options)).rejects.toMatchObject({
      code: "FENCED",
      message: expect.stringContaining("is going on: process 1 on elsewhere leads it at 10.0.0.5:7070"),
    });
    clearInterval(timer);
  });

  test("is taken over from a leader on another host that died without a word, once a minute has passed", async () => {
    await announce({ pid: 1, host: "elsewhere" });
    const past = new Date(Date.now() - 59_000);
    await utimes(join(folder, "coordinator.json"), past, past);
    expect(await enterRunFolder(folder, config, options)).toMatchObject({ kind: "continue" });
  });

  test.each([
    ["a process that is gone", { pid: 2 ** 30, host: hostname() }],
    ["this process's number in an earlier life", { pid: process.pid, host: hostname() }],
  ])("is not kept by %s", async (_name, leader) => {
    await announce(leader);
    expect(await enterRunFolder(folder, config, options)).toMatchObject({ kind: "continue" });
  });

  test("is not kept by another host that has been silent for a minute", async () => {
    await announce({ pid: 1, host: "elsewhere" });
    const past = new Date(Date.now() - 61_000);
    await utimes(join(folder, "coordinator.json"), past, past);
    expect(await enterRunFolder(folder, config, options)).toMatchObject({ kind: "continue" });
  });
});
