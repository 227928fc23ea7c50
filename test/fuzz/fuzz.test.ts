/**
 * Every parser that reads bytes from outside, on random and mutated inputs. `npm test` takes a few hundred to two thousand of each;
 * `npm run test:fuzz` 100,000 in all (ISOERG_FUZZ_INPUTS), from the seed ISOERG_FUZZ_SEED (1). A finding names target, seed and
 * index, and `ISOERG_FUZZ_SEED=S npx vitest run test/fuzz -t 'target'` meets it again.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type Findings, fuzz, inputOf, type Target } from "./fuzz.js";
import { datasetTargets } from "./targets/datasets.js";
import { messageTargets } from "./targets/messages.js";
import { recordTargets } from "./targets/records.js";
import { ringTargets } from "./targets/ring.js";
import { settingsTargets } from "./targets/settings.js";
import { tensorTargets } from "./targets/tensors.js";

const folder = mkdtempSync(join(tmpdir(), "isoerg-fuzz-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const targets: readonly Target[] = [
  ...ringTargets,
  ...messageTargets,
  ...tensorTargets(folder),
  ...datasetTargets(folder),
  ...recordTargets(folder),
  ...settingsTargets(folder),
];
const shares = targets.reduce((sum, { share }) => sum + share, 0);
const inputs = Number(process.env.ISOERG_FUZZ_INPUTS ?? 20_000);
const seed = Number(process.env.ISOERG_FUZZ_SEED ?? 1);

describe("parsers of untrusted bytes survive", () => {
  it.each(targets)("$name", { timeout: 600_000 }, async (target) => {
    const count = Math.ceil((inputs * target.share) / shares);
    const { accepted, refused, findings } = await fuzz(target, { count, seed });
    expect(findings.join("\n")).toBe("");
    if (!target.sealed) expect(accepted, "no mutated input was accepted: the seeds are too brittle to test acceptance").toBeGreaterThan(0);
    expect(refused, "no input was refused").toBeGreaterThan(0);
  });
});

describe("the fuzzer itself", () => {
  const target = (read: Target["read"]): Target => ({
    name: "planted",
    kind: "bytes",
    refuses: ["DATA"],
    share: 1,
    seeds: () => [Uint8Array.of(1, 2, 3)],
    read,
  });

  it("finds a crash, and the same one again", async () => {
    const crashing = target((input) => {
      if (input.length > 3) throw new TypeError("beyond the end");
    });
    const runs: Findings[] = [];
    for (let i = 0; i < 2; i++) runs.push(await fuzz(crashing, { count: 200, seed: 4 }));
    const [once, again] = runs as [Findings, Findings];
    expect(once.findings[0]).toMatch(/planted, seed 4, input \d+.*TypeError: beyond the end/s);
    expect(again).toEqual(once);
  });

  it("leaves its seeds as they are: what an input is depends on no input before it", async () => {
    const seeds = [Buffer.from('{"a":1,"b":[2,3]}')];
    for (const kind of ["bytes", "text", "mixed", "json", "json-lines"] as const) {
      const last = inputOf(kind, seeds, 1, 300);
      for (let index = 0; index < 300; index++) inputOf(kind, seeds, 1, index);
      expect(inputOf(kind, seeds, 1, 300)).toEqual(last);
    }
    expect(seeds[0]?.toString()).toBe('{"a":1,"b":[2,3]}');
    const seen: string[] = [];
    const reading = { ...target((input) => void seen.push(new TextDecoder().decode(input))), kind: "json" as const, seeds: () => seeds };
    const { accepted } = await fuzz(reading, { count: 300, seed: 1 });
    expect(accepted).toBe(300);
    expect(seen.filter((text) => text.startsWith('{"')).length).toBeGreaterThan(100);
  });

  it("finds memory that a number in the input asked for", async () => {
    let kept: unknown;
    const greedy = target(() => {
      kept = new Uint8Array(2 ** 27);
    });
    expect((await fuzz(greedy, { count: 3, seed: 1 })).findings[0]).toMatch(/MiB for an input of 3 bytes/);
    expect(kept).toBeDefined();
  });

  it("finds an input that is written to, and a sound one that is refused", async () => {
    const writing = target((input) => void input.fill(9));
    expect((await fuzz(writing, { count: 1, seed: 1 })).findings[0]).toMatch(/written to/);
  });
});
