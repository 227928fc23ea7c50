/**
 * Every way in which the ranks of a generation can sum, opened the same way for the contract suite: over the ring alone, in
 * one host's shared memory, over several hosts, and each of the network's ways by streams. Hosts are told apart by names, so that one machine can be many.
 */
import { HostMember } from "../../src/collective/host-member.js";
import { ARENA_BYTES, type HostMemory, loadHostMemory } from "../../src/collective/host-memory.js";
import { agreeOnSummation } from "../../src/collective/host-summation.js";
import { memoryRing } from "../../src/collective/memory-transport.js";
import { loadNativeStreams } from "../../src/collective/native-streams.js";
import { type BoundStreams, bindStreams } from "../../src/collective/stream-links.js";
import type { Summation } from "../../src/collective/summation.js";
import type { RingPlace, RingTransport } from "../../src/collective/transport.js";
import { bindPeers } from "../../src/collective/zeromq-peers.js";
import { bindRing } from "../../src/collective/zeromq-transport.js";
import { GENERATION, RUN } from "./rings.js";

export const load = await loadHostMemory();
export const streamsLoad = await loadNativeStreams();
export const SECRET = new Uint8Array(32).fill(5);

/** Streams of a rank that knows the secret. */
export function bindStreamsOf(place: RingPlace, options: { timeoutMs?: number; connectTimeoutMs?: number; secret?: Uint8Array } = {}) {
  if (!streamsLoad.ok) throw new Error(streamsLoad.reason);
  return bindStreams({ ...place, native: streamsLoad.native, secret: SECRET, ...options });
}

export interface OpenOptions {
  readonly worldSize: number;
  readonly timeoutMs?: number;
  readonly generation?: number;
  /** A host's name by rank; null shares nothing. Default: what the kind says. */
  readonly hosts?: readonly (string | null)[];
  /** Ranks that can't map the others' memory. */
  readonly refusing?: readonly number[];
  /** Where sums between hosts go by streams: how a rank listens for them. */
  readonly bindStreams?: (place: RingPlace) => Promise<BoundStreams>;
}

export interface Rank extends AsyncDisposable {
  readonly summation: Summation;
  readonly member: HostMember | null;
  /** Memory that this rank can sum in. */
  allocate(numValues: number): Float32Array;
}

export interface Ranks extends AsyncDisposable {
  readonly ranks: readonly Rank[];
  readonly refusals: readonly string[];
}

export interface SummationKind {
  readonly name: string;
  open(options: OpenOptions): Promise<Ranks>;
}

function native(): HostMemory {
  if (!load.ok) throw new Error(load.reason);
  return load.memory;
}

/** The hosts of a world whose ranks take turns: rank r is on host r modulo `numHosts`. */
const inTurn = (worldSize: number, numHosts: number): string[] => Array.from({ length: worldSize }, (_, rank) => `host ${rank % numHosts}`);

async function openRanks(options: OpenOptions, hosts: readonly (string | null)[], isZeromq: boolean): Promise<Ranks> {
  const { worldSize, timeoutMs = 20_000, generation = GENERATION } = options;
  const transports = isZeromq ? await zeromqRing(options) : memoryRing({ run: RUN, generation, worldSize, timeoutMs });
  const refusals: string[] = [];
  const ranks = await Promise.all(
    transports.map(async (transport, rank): Promise<Rank> => {
      const host = hosts[rank] ?? null;
      const arena = host === null ? null : native().createArena(ARENA_BYTES);
      const member =
        arena === null || host === null ? null : new HostMember({ memory: native(), arena, place: transport.place, host, timeoutMs });
      member?.sums.adopt();
      if (member && options.refusing?.includes(rank)) {
        member.attach = () => {
          throw new Error(`rank ${rank} may not`);
        };
      }
      const bind = (place: RingPlace) => bindRing({ ...place, timeoutMs });
      const summation = await agreeOnSummation({
        ...{ transport, member, bind, onRefusal: (reason) => refusals.push(reason) },
        ...(options.bindStreams && { bindStreams: options.bindStreams }),
        ...(isZeromq && { bindPeers: (place) => bindPeers({ ...place, timeoutMs }) }),
      });
      return {
        summation,
        member,
        allocate(numValues) {
          if (arena === null) return new Float32Array(numValues);
          const bytes = Math.max(4, numValues * 4);
          return new Float32Array(native().view(arena, native().allocate(arena, bytes), bytes), 0, numValues);
        },
        [Symbol.asyncDispose]: () => summation[Symbol.asyncDispose](),
      };
    }),
  );
  return {
    ranks,
    refusals,
    async [Symbol.asyncDispose]() {
      await Promise.all(ranks.map((rank) => rank[Symbol.asyncDispose]()));
    },
  };
}

async function zeromqRing({ worldSize, generation = GENERATION, timeoutMs = 20_000 }: OpenOptions): Promise<readonly RingTransport[]> {
  const bound = await Promise.all(
    Array.from({ length: worldSize }, (_, rank) => bindRing({ run: RUN, generation, rank, worldSize, timeoutMs })),
  );
  const endpoints = bound.map((ring) => ring.endpoint);
  return Promise.all(bound.map((ring) => ring.connect(endpoints)));
}

const nobody = (worldSize: number): null[] => Array.from({ length: worldSize }, () => null);

export const memoryRingKind: SummationKind = {
  name: "the ring in memory",
  open: (options) => openRanks(options, options.hosts ?? nobody(options.worldSize), false),
};
export const zeromqRingKind: SummationKind = {
  name: "the ring over ZeroMQ",
  open: (options) => openRanks(options, options.hosts ?? nobody(options.worldSize), true),
};
export const hostKind: SummationKind = {
  name: "the memory of one host",
  open: (options) => openRanks(options, options.hosts ?? inTurn(options.worldSize, 1), false),
};
export const hostsKind: SummationKind = {
  name: "two hosts with shared memory each",
  open: (options) => openRanks(options, options.hosts ?? inTurn(options.worldSize, 2), true),
};

const byStreams = ({ name, open }: SummationKind): SummationKind => ({
  name: `${name}, by streams`,
  open: (options) => open({ bindStreams: (place) => bindStreamsOf(place, { timeoutMs: options.timeoutMs ?? 20_000 }), ...options }),
});
/** The ring in memory only agrees; the vectors go over TCP. */
export const streamsKind: SummationKind = byStreams(memoryRingKind);
export const streamsBesideZeromqKind: SummationKind = byStreams(zeromqRingKind);
export const hostsByStreamsKind: SummationKind = byStreams(hostsKind);

export const summationKinds: readonly SummationKind[] = [
  ...[memoryRingKind, zeromqRingKind],
  ...(load.ok ? [hostKind, hostsKind] : []),
  ...(streamsLoad.ok ? [streamsKind, streamsBesideZeromqKind] : []),
  ...(load.ok && streamsLoad.ok ? [hostsByStreamsKind] : []),
];
