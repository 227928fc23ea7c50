import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Manifest, parseManifest } from "../../src/data/manifest.js";
import { IsoergError } from "../../src/util/error.js";
import * as fc from "../kit/property.js";
import { failureOf, preparedToy } from "./toy.js";

async function toyManifest(): Promise<{ text: string; value: Manifest }> {
  const text = await readFile(join(await preparedToy(), "manifest.json"), "utf8");
  return { text, value: parseManifest(text, "manifest.json") };
}

describe("manifest", () => {
  it("is read or refused with a DATA error that names it, whatever its bytes", async () => {
    const { text } = await toyManifest();
    const bytes = Buffer.from(text);
    const edits = fc.array(fc.record({ at: fc.nat(bytes.length - 1), value: fc.nat(255) }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(edits, fc.nat(bytes.length), fc.boolean(), (changes, end, cut) => {
        const mutated = Buffer.from(bytes);
        for (const { at, value } of changes) mutated[at] = value;
        const subject = (cut ? mutated.subarray(0, end) : mutated).toString("utf8");
        try {
          parseManifest(subject, "x/manifest.json");
        } catch (error) {
          expect(error).toBeInstanceOf(IsoergError);
          expect(error).toMatchObject({ code: "DATA", message: expect.stringContaining("x/manifest.json: ") });
        }
      }),
      { numRuns: 400 },
    );
    fc.assert(
      fc.property(fc.json(), (json) => {
        expect(() => parseManifest(json, "x")).toThrow(IsoergError);
      }),
    );
  });

  it("names what does not add up", async () => {
    const { value } = await toyManifest();
    const changed = (change: (manifest: Manifest) => void): string => {
      const copy = structuredClone(value);
      change(copy);
      return JSON.stringify(copy);
    };
    const cases: [RegExp, string][] = [
      [/splits\.train: the shards' samples do not add up/, changed((m) => void m.splits.train.shards.pop())],
      [/splits\.test\.classCounts: the classes' samples do not add up/, changed((m) => void m.splits.test.classCounts.splice(0, 1, 99))],
      [
        /splits\.train\.shards\.0: 18 records of 62 bytes are not 1 bytes/,
        changed((m) => Object.assign(m.splits.train.shards[0] ?? {}, { sizeBytes: 1 })),
      ],
      [
        /splits\.train\.shards\.0\.file: a plain file name/,
        changed((m) => Object.assign(m.splits.train.shards[0] ?? {}, { file: "../../etc/passwd" })),
      ],
      [/statistics\.mean: not one figure for each channel/, changed((m) => void m.statistics.mean.pop())],
      [/format version 2, this isoerg reads version 1/, changed((m) => Object.assign(m, { version: 2 }))],
      [/18 samples where 19 are due/, changed((m) => Object.assign(m.splits.train, { samplesPerShard: 19 }))],
      [/Unrecognized key/, changed((m) => Object.assign(m, { extra: 1 }))],
    ];
    for (const [message, text] of cases)
      expect(await failureOf(() => parseManifest(text, "m"))).toMatchObject({ code: "DATA", message: expect.stringMatching(message) });
  });
});
