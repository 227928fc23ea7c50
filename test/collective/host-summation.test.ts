/** The agreement on who shares memory, and what shared memory alone promises: fences between generations, no memory left behind. */
import { readdirSync, readlinkSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { HostMember } from "../../src/collective/host-member.js";
import { ARENA_BYTES, loadHostMemory } from "../../src/collective/host-memory.js";
import { planHosts } from "../../src/collective/host-plan.js";
import * as fc from "../kit/property.js";
import { at } from "./rings.js";
import { hostKind, hostsKind, load, type Ranks, zeromqRingKind } from "./summation-kinds.js";

const offerOf = (host: string | null, rank: number) => (host === null ? null : { host, pid: 1000 + rank, file: 3, nonce: rank });

async function expectSums({ ranks }: Ranks, numValues: number): Promise<void> {
  const vectors = ranks.map((rank, index) => rank.allocate(numValues).fill(2 ** index));
  await Promise.all(ranks.map(({ summation }, rank) => summation.sum(at(vectors, rank), { step: 1, bucket: 0 })));
  for (const vector of vectors) expect(vector.every((value) => value === 2 ** ranks.length - 1)).toBe(true);
}

describe("the plan of hosts", () => {
  it("puts every rank in one group, with ranks of its own host only", () => {
    fc.assert(
      fc.property(
        fc.array(fc.option(fc.constantFrom("a", "b", "c"), { nil: null }), { minLength: 1, maxLength: 20 }),
        fc.infiniteStream(fc.boolean()),
        (hosts, coins) => {
          const usable = hosts.map(() => coins.next().value as boolean);
          const { groups, way } = planHosts(hosts.map(offerOf), usable);
          expect(groups.flat().sort((a, b) => a - b)).toEqual(hosts.map((_, rank) => rank));
          for (const group of groups) {
            if (group.length === 1) continue;
            expect(new Set(group.map((rank) => hosts[rank])).size).toBe(1);
            expect(group.every((rank) => usable[rank])).toBe(true);
          }
          expect(way).toBe(groups.length === hosts.length ? "ring" : groups.length === 1 ? "host" : "hosts");
        },
      ),
    );
  });
});

describe.runIf(load.ok)("ranks that share a host", () => {
  it.each([
    ["all on one", ["a", "a", "a"], "host"],
    ["each on its own", ["a", "b", "c"], "ring"],
    ["two and one", ["a", "b", "a"], "hosts"],
    ["one that shares nothing", ["a", null, "a"], "hosts"],
    ["two hosts of three", ["a", "a", "b", "b", "b", "a"], "hosts"],
  ] as const)("agree on the way: %s", async (_, hosts, way) => {
    await using opened = await zeromqRingKind.open({ worldSize: hosts.length, hosts });
    expect(opened.ranks.map(({ summation }) => summation.way)).toEqual(hosts.map(() => way));
    await expectSums(opened, 30_000);
  });

  it("all fall back to the ring when one of them can't map the memory", async () => {
    await using opened = await hostKind.open({ worldSize: 3, refusing: [1] });
    expect(opened.ranks.map(({ summation }) => summation.way)).toEqual(["ring", "ring", "ring"]);
    expect(opened.refusals).toEqual(["rank 1 may not"]);
    await expectSums(opened, 30_000);
  });

  it("sum alike whatever the hosts are, for numbers that float32 adds exactly", async () => {
    for (const kind of [zeromqRingKind, hostKind, hostsKind]) {
      await using opened = await kind.open({ worldSize: 5 });
      await expectSums(opened, 70_001);
    }
  });

  it("finish what a late rank has left, without it", async () => {
    await using opened = await hostKind.open({ worldSize: 2 });
    const [zero, one] = [at(opened.ranks, 0), at(opened.ranks, 1)];
    const [a, b] = [zero.allocate(500_000).fill(1), one.allocate(500_000).fill(2)];
    one.member?.sums.post(b, { step: 1, bucket: 0 }); // and then computes on
    zero.member?.sums.post(a, { step: 1, bucket: 0 });
    zero.member?.sums.finish();
    expect(a.every((value) => value === 3)).toBe(true);
    expect(b.every((value) => value === 3)).toBe(true);
    one.member?.sums.finish();
  });

  it("have as many sums under way as they like", async () => {
    await using opened = await hostKind.open({ worldSize: 2 });
    const [zero, one] = [at(opened.ranks, 0), at(opened.ranks, 1)];
    const [a, b] = [zero.allocate(200 * 4000).fill(1), one.allocate(200 * 4000).fill(2)];
    for (let bucket = 0; bucket < 60; bucket++) zero.member?.sums.post(a.subarray(4000 * bucket, 4000 * (bucket + 1)), { step: 1, bucket });
    for (let bucket = 0; bucket < 60; bucket++) one.member?.sums.post(b.subarray(4000 * bucket, 4000 * (bucket + 1)), { step: 1, bucket });
    zero.member?.sums.finish();
    one.member?.sums.finish();
    for (let bucket = 60; bucket < 200; bucket++) {
      zero.member?.sums.post(a.subarray(4000 * bucket, 4000 * (bucket + 1)), { step: 2, bucket });
      one.member?.sums.post(b.subarray(4000 * bucket, 4000 * (bucket + 1)), { step: 2, bucket });
    }
    zero.member?.sums.finish();
    one.member?.sums.finish();
    expect(a.every((value) => value === 3) && b.every((value) => value === 3)).toBe(true);
  });

  it("can't reach memory of the next generation: what a sleeper writes goes into the last one's", async () => {
    if (!load.ok) return;
    const { memory } = load;
    const place = (generation: number, rank: number) => ({ run: 1, generation, rank });
    const arenas = [memory.createArena(ARENA_BYTES), memory.createArena(ARENA_BYTES)];
    const views = arenas.map((arena) => new Float32Array(memory.view(arena, memory.allocate(arena, 400_000), 400_000)));
    const old = arenas.map((arena, rank) => new HostMember({ memory, arena, place: place(1, rank), host: "a" }));
    for (const member of old) member.sums.adopt();
    for (const member of old)
      member.attach(
        [0, 1],
        old.map(({ offer }) => offer),
      );
    for (const member of old) member.connect({ direct: true });
    at(views, 0).fill(1);
    at(views, 1).fill(2);
    at(old, 0).sums.post(at(views, 0), { step: 1, bucket: 0 });
    // Rank 0 is in generation 2 while rank 1, asleep until now, does the sum of generation 1, into both ranks' vectors.
    const renewed = new HostMember({ memory, arena: at(arenas, 0), place: place(2, 0), host: "a" });
    renewed.sums.adopt();
    at(views, 0).fill(42);
    at(old, 1).sums.post(at(views, 1), { step: 1, bucket: 0 });
    at(old, 1).sums.finish();
    expect(at(views, 1).every((value) => value === 3)).toBe(true);
    expect(at(views, 0).every((value) => value === 42)).toBe(true);
    // Nor can a rank of generation 1 be attached to one of generation 2.
    expect(() => renewed.attach([0, 1], [null, at(old, 1).offer])).toThrow(/rank 1 is not of this generation/);
    for (const member of [...old, renewed]) member.close();
  });

  it("leave no file behind, open or named", async () => {
    const segments = (): number =>
      readdirSync("/proc/self/fd").filter((name) => {
        try {
          return readlinkSync(`/proc/self/fd/${name}`).includes("isoerg-");
        } catch {
          return false;
        }
      }).length;
    const before = segments();
    {
      await using opened = await hostKind.open({ worldSize: 3 });
      await expectSums(opened, 10_000);
      expect(segments()).toBe(before + 3);
    }
    expect(segments()).toBe(before);
  });

  it("refuse memory that is not in the arena", async () => {
    await using opened = await hostKind.open({ worldSize: 2 });
    expect(() => at(opened.ranks, 0).member?.sums.post(new Float32Array(10), { step: 1, bucket: 0 })).toThrow(/only memory of the arena/);
  });
});

it("can be forbidden, and says so", async () => {
  expect(await loadHostMemory({ ISOERG_SHARED_MEMORY: "0" })).toMatchObject({ ok: false, reason: "ISOERG_SHARED_MEMORY=0" });
});
