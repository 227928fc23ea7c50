/** A prepared data set: its manifest, and its shards behind the manifest's digests. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { openDataset } from "../../../src/data/dataset.js";
import { MANIFEST_FILE, parseManifest } from "../../../src/data/manifest.js";
import { prepareDataset } from "../../../src/data/prepare.js";
import { noFetcher, toySource } from "../../data/toy.js";
import type { Target } from "../fuzz.js";
import { parts, whole } from "./parts.js";

export function datasetTargets(folder: string): readonly Target[] {
  const data = join(folder, "toy");
  let prepared: Promise<unknown> | undefined;
  const prepare = (): Promise<unknown> => {
    prepared ??= prepareDataset(toySource(), { out: data, cacheFolder: join(folder, "cache"), fetcher: noFetcher, shardBytes: 20 * 62 });
    return prepared;
  };
  const shards = (): readonly { file: string; bytes: Uint8Array }[] => {
    const manifest = parseManifest(readFileSync(join(data, MANIFEST_FILE), "utf8"), "manifest");
    return manifest.splits.train.shards.map(({ file }) => ({ file, bytes: readFileSync(join(data, file)) }));
  };
  let sound: ReturnType<typeof shards> = [];
  return [
    {
      name: "data set manifest",
      kind: "json",
      refuses: ["DATA"],
      share: 8,
      async seeds() {
        await prepare();
        return [readFileSync(join(data, MANIFEST_FILE))];
      },
      read(input) {
        const manifest = parseManifest(new TextDecoder().decode(input), "manifest.json");
        assert.deepEqual(parseManifest(JSON.stringify(manifest), "again"), manifest);
        const files = [manifest.classGaussians, ...manifest.splits.train.shards, ...manifest.splits.test.shards];
        for (const { file } of files) assert(basename(file) === file && file !== "." && file !== "..", `it leads out: ${file}`);
        const { height, width, channels } = manifest.shape;
        assert(height * width * channels <= 2 ** 31);
      },
    },
    {
      name: "data set shard",
      kind: "bytes",
      sealed: true,
      refuses: ["DATA"],
      share: 3,
      async seeds() {
        await prepare();
        sound = shards();
        return sound.map(({ bytes }, at) => parts(at, bytes));
      },
      async read(input) {
        const { at, bytes } = whole(input, sound.length);
        const { file, bytes: original } = sound[at] as (typeof sound)[number];
        writeFileSync(join(data, file), bytes);
        try {
          await using dataset = await openDataset(data, "train");
          await dataset.read(Array.from({ length: dataset.numSamples }, (_, id) => id));
          assert.equal(Buffer.compare(bytes, original), 0, "an altered shard was accepted");
        } finally {
          writeFileSync(join(data, file), original);
        }
      },
    },
  ];
}
