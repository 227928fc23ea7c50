/** What one worker gives another: rows wherever they are, however ranks have moved, over real gRPC; and how a coordinator is found again. */

import pino from "pino";
import { afterEach, describe, expect, test } from "vitest";
import type { StatePart } from "../../src/checkpoint/state-part.js";
import { NO_ADJUSTMENT } from "../../src/config/adjustment.js";
import { intersect, sizeOf, subtract } from "../../src/util/ranges.js";
import { openClient } from "../../src/wire/client.js";
import type { GenerationMessage } from "../../src/wire/messages.js";
import { openServer, type RunningServer } from "../../src/wire/server.js";
import { Dialer } from "../../src/worker/dialer.js";
import { heal } from "../../src/worker/healing.js";
import { Offers, rowsCovered } from "../../src/worker/offers.js";
import { startPeerServer } from "../../src/worker/peer-server.js";
import * as fc from "../kit/property.js";

const log = pino({ enabled: false });
const NUM_ROWS = 12;
const servers: RunningServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close(0);
});

/** Rows whose values say which they are. */
function rows(from: number, to: number): StatePart[] {
  const data = Float32Array.from({ length: 2 * (to - from) }, (_, i) => 2 * from + i);
  const ages = Int32Array.from({ length: to - from }, (_, i) => from + i);
  return [
    { file: "buffer", tensor: "chains", dtype: "F32", shape: [NUM_ROWS, 2], row: from, data },
    { file: "buffer", tensor: "ages", dtype: "I32", shape: [NUM_ROWS], row: from, data: ages },
  ];
}

const model: StatePart = { file: "model", tensor: "weights", dtype: "F32", shape: [3], row: 0, data: Float32Array.of(1, 2, 3) };

async function giver(generation: number, parts: readonly StatePart[]): Promise<{ endpoint: string; offers: Offers }> {
  const offers = new Offers();
  offers.begin(generation, 7);
  offers.add(7, parts);
  const server = await startPeerServer({ host: "127.0.0.1" }, offers);
  servers.push(server);
  return { endpoint: server.address, offers };
}

function message(over: Partial<GenerationMessage>): GenerationMessage {
  return {
    generation: 4,
    rank: 0,
    worldSize: 1,
    sliceWeights: [1],
    step: 7,
    restore: "keep",
    checkpointStep: 0,
    hasCheckpoint: false,
    give: "",
    donor: "",
    peers: [],
    adjustment: NO_ADJUSTMENT,
    ...over,
  };
}

async function take(over: Partial<GenerationMessage>, positions: { from: number; to: number }, held: { from: number; to: number }) {
  const coordinator = openClient("127.0.0.1:1"); // nobody: no checkpoint is asked for
  try {
    const offers = new Offers();
    return await heal({ coordinator, message: message(over), positions, held, offers, signal: new AbortController().signal, log });
  } finally {
    coordinator.close();
  }
}

describe("healing", () => {
  test("a newcomer takes the model from one and its chains from those who had them; what nobody has begins anew", async () => {
    const [a, b] = [await giver(4, [model, ...rows(0, 5)]), await giver(4, rows(5, 9))];
    const peers = [
      { endpoint: a.endpoint, rowFrom: 0, rowTo: 5 },
      { endpoint: b.endpoint, rowFrom: 5, rowTo: 9 },
    ];
    const healed = await take({ restore: "heal", donor: a.endpoint, peers }, { from: 3, to: 11 }, { from: 0, to: 0 });
    expect(healed.state).toEqual([model]);
    expect(healed.account).toEqual({ chainsKept: 0, chainsMoved: 6, chainsRestored: 0, chainsAnew: 2 });
    expect(sizeOf(subtract([{ from: 3, to: 9 }], rowsCovered(healed.chains)))).toBe(0);
    for (const part of healed.chains) {
      const [expected] = rows(part.row, part.row + 1);
      if (part.tensor === "chains") expect(part.data[0]).toBe(expected?.data[0]);
      else expect(part.data[0]).toBe(part.row);
    }
  });

  test("whoever is wrongly believed to have rows is passed over; the others are asked", async () => {
    const [a, b] = [await giver(4, rows(0, 2)), await giver(4, rows(2, 6))];
    const peers = [
      { endpoint: a.endpoint, rowFrom: 0, rowTo: 6 },
      { endpoint: b.endpoint, rowFrom: 6, rowTo: 12 },
    ];
    const healed = await take({ peers }, { from: 0, to: 6 }, { from: 0, to: 1 });
    expect(healed.account).toEqual({ chainsKept: 1, chainsMoved: 5, chainsRestored: 0, chainsAnew: 0 });
  });

  test("a peer that is gone costs its rows, not the generation", async () => {
    const healed = await take({ peers: [{ endpoint: "127.0.0.1:1", rowFrom: 0, rowTo: 6 }] }, { from: 0, to: 6 }, { from: 0, to: 4 });
    expect(healed.account).toEqual({ chainsKept: 4, chainsMoved: 0, chainsRestored: 0, chainsAnew: 2 });
  });

  test("a request waits for the offer; an earlier generation's is refused; an offer outlives a generation that broke", async () => {
    const { endpoint, offers } = await giver(4, rows(0, 6));
    offers.begin(5, 7);
    const peers = [{ endpoint, rowFrom: 0, rowTo: 6 }];
    const waiting = take({ generation: 5, peers }, { from: 0, to: 8 }, { from: 0, to: 0 });
    expect((await take({ generation: 4, peers }, { from: 0, to: 6 }, { from: 0, to: 0 })).account.chainsMoved).toBe(0);
    offers.add(7, rows(6, 8)); // what it has now; the rows before were given away in generation 4, and are still here
    expect((await waiting).account).toMatchObject({ chainsMoved: 8, chainsAnew: 0 });
  });
});

test("ranges: what is subtracted and what is common make up the whole", () => {
  const range = fc.tuple(fc.nat(20), fc.nat(20)).map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) }));
  fc.assert(
    fc.property(range, fc.array(range, { maxLength: 5 }), (wanted, had) => {
      const positions = Array.from({ length: wanted.to - wanted.from }, (_, i) => wanted.from + i);
      const isIn = (sets: readonly { from: number; to: number }[], at: number): boolean =>
        sets.some(({ from, to }) => from <= at && at < to);
      const left = subtract([wanted], had);
      for (const at of positions) expect(isIn(left, at)).toBe(!isIn(had, at));
      expect(sizeOf(left)).toBe(positions.filter((at) => !isIn(had, at)).length);
      for (const other of had) {
        const common = intersect(wanted, other);
        expect(common === null ? 0 : common.to - common.from).toBe(positions.filter((at) => isIn([other], at)).length);
      }
    }),
  );
});

describe("looking for the coordinator", () => {
  test("addresses are asked for anew, each in turn; pauses grow, with jitter, up to a limit", async () => {
    const server = await openServer("127.0.0.1:0", []);
    servers.push(server);
    let asked = 0;
    const draws: number[] = [];
    const dialer = new Dialer({
      whereabouts: async () => {
        asked++;
        return asked < 3 ? [] : ["127.0.0.1:1", server.address];
      },
      random: () => {
        draws.push(draws.length);
        return 0;
      },
      pauseMs: { first: 1, longest: 4 },
    });
    const { client, address } = await dialer.reach(20_000, new AbortController().signal);
    client.close();
    expect(address).toBe(server.address);
    expect(draws.length).toBe(asked - 1); // none before the first attempt
  });

  test("it gives up after its time, or when it is told to", async () => {
    const dialer = new Dialer({ whereabouts: async () => [], pauseMs: { first: 1, longest: 2 } });
    await expect(dialer.reach(30, new AbortController().signal)).rejects.toMatchObject({
      code: "NETWORK",
      message: /nobody knows its address/,
    });
    const stop = new AbortController();
    const looking = dialer.reach(60_000, stop.signal);
    stop.abort(new Error("enough"));
    await expect(looking).rejects.toThrow();
  });
});
