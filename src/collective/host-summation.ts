/**
 * Sums where some ranks share a host: agreed upon over the ring of all ranks, then done without it.
 *
 * Ranks tell each other what memory they offer, map that of their host, and tell whether it worked: two short sums over the
 * ring. Where all ranks are on one host a sum never leaves its memory. Where there are several, the leader of each host
 * takes its host's sum round a ring of leaders, and hands the total to the others: bytes on the network don't grow with the
 * number of ranks on a host. A host that can't share is not an error; its ranks are hosts of their own.
 */
import { IsoergError, invariant } from "../util/error.js";
import type { CostConstants } from "./cost-model.js";
import { gatherTexts } from "./gather.js";
import type { HostMember } from "./host-member.js";
import { type HostOffer, type HostPlan, planHosts } from "./host-plan.js";
import type { PeerTransport } from "./peer-transport.js";
import type { BoundStreams } from "./stream-links.js";
import type { StreamSums } from "./stream-sums.js";
import { carrierOf, type NetworkOptions, type Summation, sumOverNetwork, sumOverRing } from "./summation.js";
import type { RingPlace, RingTransport, SumTag } from "./transport.js";
import type { BoundPeers } from "./zeromq-peers.js";

export interface AgreeOptions {
  /** The ring of all ranks. It belongs to the summation from here on. */
  readonly transport: RingTransport;
  /** Null: this rank shares nothing. */
  readonly member: HostMember | null;
  /** Opens a rank's place in the ring of leaders: first listens, then connects. */
  readonly bind: (
    place: RingPlace,
  ) => Promise<{ readonly endpoint: string; connect(endpoints: readonly string[]): Promise<RingTransport> }>;
  /** Listens for partners at distances; left out, there is only the ring. */
  readonly bindPeers?: (place: RingPlace) => Promise<BoundPeers>;
  /** Listens for native TCP between the ranks of a ring; left out, the same on all ranks, sums between hosts go through ZeroMQ. */
  readonly bindStreams?: (place: RingPlace) => Promise<BoundStreams>;
  /** Of the network, the same on all ranks. */
  readonly cost?: CostConstants;
  readonly wire?: NetworkOptions["wire"];
  /** Told why this rank could not share, once. */
  readonly onRefusal?: (reason: string) => void;
}

/** All ranks of a ring call this at the same time, before any sum. */
export async function agreeOnSummation(options: AgreeOptions): Promise<Summation> {
  const { transport, member, bind, onRefusal } = options;
  const { rank, run, generation } = transport.place;
  const offers = (await gatherTexts(transport, JSON.stringify(member?.offer ?? null), 0)).map(parseOffer);
  const first = planHosts(offers);
  if (first.way === "ring") return sumOverRing(transport, await openNetwork(transport, options));
  const group = groupOf(first, rank);
  let usable = true;
  if (group.length > 1) {
    try {
      invariant(member, "a rank in a group has offered memory");
      member.attach(group, offers);
    } catch (error) {
      usable = false;
      onRefusal?.(error instanceof Error ? error.message : String(error));
    }
  }
  const usables = (await gatherTexts(transport, usable ? "yes" : "no", 1)).map((text) => text === "yes");
  const plan = planHosts(offers, usables);
  if (plan.way === "ring") return sumOverRing(transport, await openNetwork(transport, options));
  const mine = groupOf(plan, rank);
  if (plan.way === "host") {
    invariant(member, "a rank in a group has offered memory");
    member.connect({ direct: true });
    return sumInHost(transport, member);
  }
  const leaders = plan.groups.map((ranks) => ranks[0] as number);
  const place = { run, generation, rank: leaders.indexOf(rank), worldSize: leaders.length };
  const bound = place.rank >= 0 ? await bind(place) : null;
  const endpoints = await gatherTexts(transport, bound?.endpoint ?? "", 2);
  const ring = bound && (await bound.connect(leaders.map((leader) => endpoints[leader] as string)));
  const network = ring && (await openNetwork(ring, options));
  if (mine.length > 1) member?.connect({ direct: false });
  return sumOverHosts({ transport, member: mine.length > 1 ? member : null, ring, network: network ?? {} });
}

/** Below this many ranks the ring is as good as any other algorithm. */
const MIN_RANKS_FOR_PEERS = 4;
/** Of the exchange of endpoints; agreement on hosts takes 0 to 2. */
const PEERS_ROUND = 3;
const STREAMS_ROUND = 4;
const STREAMS_OPEN_ROUND = 5;

/** What carries the sums of a ring's ranks: streams, where all have them; else ZeroMQ, with partners at distances where there are enough. */
async function openNetwork(transport: RingTransport, options: AgreeOptions): Promise<NetworkOptions> {
  const { bindPeers, cost, wire = "fp32" } = options;
  const { place } = transport;
  const streams = wire === "fp32" ? await openStreams(transport, options) : null;
  if (streams) return { streams, wire, ...(cost && { cost }) };
  let peers: PeerTransport | null = null;
  if (bindPeers && place.worldSize >= MIN_RANKS_FOR_PEERS) {
    const bound = await bindPeers(place);
    try {
      peers = bound.connect(await gatherTexts(transport, bound.endpoint, PEERS_ROUND));
    } catch (error) {
      bound.interrupt(error instanceof Error ? error : new IsoergError("NETWORK", String(error)));
      throw error;
    }
  }
  return { peers, wire, ...(cost && { cost }) };
}

/** Null where a rank could not open its own, alike on all ranks. */
async function openStreams(transport: RingTransport, { bindStreams, onRefusal }: AgreeOptions): Promise<StreamSums | null> {
  if (!bindStreams || transport.place.worldSize === 1) return null;
  let bound: BoundStreams | null = null;
  let streams: StreamSums | null = null;
  const refuse = (error: unknown): null => {
    onRefusal?.(error instanceof Error ? error.message : String(error));
    return null;
  };
  const over = new AbortController();
  void transport.ended.then((reason) => over.abort(reason));
  try {
    bound = await bindStreams(transport.place).catch(refuse);
    const endpoints = await gatherTexts(transport, bound?.endpoint ?? "", STREAMS_ROUND);
    if (bound && endpoints.every((endpoint) => endpoint !== "")) streams = await bound.connect(endpoints, over.signal).catch(refuse);
    const opened = await gatherTexts(transport, streams ? "yes" : "no", STREAMS_OPEN_ROUND);
    if (streams && opened.every((text) => text === "yes")) return streams;
  } catch (error) {
    streams?.interrupt(error instanceof Error ? error : new IsoergError("NETWORK", String(error)));
    bound?.close();
    throw error;
  }
  streams?.interrupt(new IsoergError("NETWORK", "another rank could not open its streams"));
  bound?.close();
  return null;
}

function sumInHost(transport: RingTransport, member: HostMember): Summation {
  return {
    way: "host",
    carrier: null,
    async sum(values, tag) {
      if (values.length === 0) return;
      member.sums.post(values, tag);
      await member.sums.finishLater();
    },
    interrupt(reason) {
      member.close(reason);
      transport.interrupt(reason);
    },
    async [Symbol.asyncDispose]() {
      member.close();
      await transport[Symbol.asyncDispose]();
    },
  };
}

interface HostsOptions {
  readonly transport: RingTransport;
  /** Null: alone on its host. */
  readonly member: HostMember | null;
  /** Null: not its host's leader. */
  readonly ring: RingTransport | null;
  readonly network: NetworkOptions;
}

function sumOverHosts({ transport, member, ring, network }: HostsOptions): Summation {
  const between = ring && sumOverNetwork(ring, network);
  const inHost = async (values: Float32Array, tag: SumTag, operation: "reduce" | "broadcast"): Promise<void> => {
    if (member === null) return;
    member.sums.post(values, tag, operation);
    await member.sums.finishLater();
  };
  const interrupt = (reason: Error): void => {
    member?.close(reason);
    ring?.interrupt(reason);
    network.streams?.interrupt(reason);
    network.peers?.interrupt(reason);
    transport.interrupt(reason);
  };
  return {
    way: "hosts",
    carrier: ring && carrierOf(network),
    async sum(values, tag) {
      if (values.length === 0) return;
      try {
        await inHost(values, tag, "reduce");
        await between?.sum(values, tag);
        await inHost(values, tag, "broadcast");
      } catch (error) {
        // The others of this host wait for this rank, and the leaders for its host.
        const reason = error instanceof Error ? error : new IsoergError("NETWORK", String(error));
        interrupt(reason);
        throw reason;
      }
    },
    interrupt,
    async [Symbol.asyncDispose]() {
      member?.close();
      network.streams?.interrupt(new IsoergError("STOPPED", `the sums of generation ${transport.place.generation} are over`));
      await network.peers?.[Symbol.asyncDispose]();
      await ring?.[Symbol.asyncDispose]();
      await transport[Symbol.asyncDispose]();
    },
  };
}

function groupOf(plan: HostPlan, rank: number): readonly number[] {
  const group = plan.groups.find((ranks) => ranks.includes(rank));
  invariant(group, `rank ${rank} has a group`);
  return group;
}

/** Null for what isn't an offer: who sends such a thing shares nothing. */
function parseOffer(text: string): HostOffer | null {
  const value = JSON.parse(text) as Partial<HostOffer> | null;
  if (value === null || typeof value !== "object") return null;
  const { host, pid, file, nonce } = value;
  const areCounts = [pid, file, nonce].every((number) => Number.isSafeInteger(number) && (number as number) >= 0);
  return typeof host === "string" && areCounts ? ({ host, pid, file, nonce } as HostOffer) : null;
}
