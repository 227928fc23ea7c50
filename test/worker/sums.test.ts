/** What carries a generation's sums: streams where traffic is plaintext and all workers have them, CURVE where it is encrypted. */
import { afterEach, describe, expect, it } from "vitest";
import { loadNativeStreams } from "../../src/collective/native-streams.js";
import { Sums } from "../../src/worker/sums.js";

const load = await loadNativeStreams();
const native = load.ok ? load.native : null;
const opened: Sums[] = [];
afterEach(async () => {
  for (const sums of opened.splice(0)) await sums.close(new Error("the test is over"));
});

/** Two workers as the coordinator would bring them together. @returns the endpoints told, and what carried a sum */
async function sumOnTwo(curve: boolean, streams: readonly [boolean, boolean], wire: "fp32" | "bf16" = "fp32") {
  const workers = streams.map(
    (has, rank) => new Sums({ run: 9, generation: 2, rank, worldSize: 2 }, { streams: has ? native : null, network: { wire } }),
  );
  opened.push(...workers);
  const endpoints = await Promise.all(workers.map((sums) => sums.bind({ curve })));
  await Promise.all(workers.map((sums) => sums.connect(endpoints)));
  const vectors = workers.map((_, rank) => new Float32Array(5000).fill(rank + 1));
  workers.forEach((sums, rank) => {
    sums.beginStep(1);
    sums.start(vectors[rank] as Float32Array);
  });
  const results = await Promise.all(workers.map((sums) => sums.finish()));
  for (const vector of vectors) expect(vector.every((value) => value === 3)).toBe(true);
  return { endpoints, by: results.map((result) => result.done && result.by) };
}

describe.runIf(native)("sums between workers", () => {
  it("go by streams, with a token behind each endpoint", async () => {
    const { endpoints, by } = await sumOnTwo(false, [true, true]);
    expect(by).toEqual(["streams", "streams"]);
    for (const endpoint of endpoints) expect(endpoint).toMatch(/^tcp:\/\/127\.0\.0\.1:\d+#[0-9a-f]{32}$/);
  });

  it("never leave an encrypted ring in plaintext: there is no token, and CURVE carries them", async () => {
    const { endpoints, by } = await sumOnTwo(true, [true, true]);
    expect(by).toEqual(["curve", "curve"]);
    for (const endpoint of endpoints) expect(endpoint).toMatch(/\?key=[0-9a-f]{80}$/);
  });

  it.each([
    ["where one worker has no streams", [true, false], "fp32"],
    ["where what travels is rounded", [true, true], "bf16"],
  ] as const)("go through ZeroMQ %s", async (_, streams, wire) => {
    expect((await sumOnTwo(false, streams, wire)).by).toEqual(["zeromq", "zeromq"]);
  });
});
