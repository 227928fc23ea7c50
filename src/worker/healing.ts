/**
 * What a worker takes from elsewhere when a generation begins: model and optimizer where it doesn't hold them, and the chains of
 * positions that are newly its own. Chains come from where they were (its own earlier offer, then the workers that had them),
 * else from the last checkpoint, else they begin anew; what came from where is counted, for the journal.
 */
import type { Client } from "@grpc/grpc-js";
import type { Logger } from "pino";
import type { StatePart } from "../checkpoint/state-part.js";
import type { Security } from "../security/security.js";
import type { Range } from "../util/range.js";
import { intersect, sizeOf, subtract } from "../util/ranges.js";
import { callServerStream, openClient } from "../wire/client.js";
import type { ChainsAccount, GenerationMessage, PeerPlace } from "../wire/messages.js";
import { coordination, peer } from "../wire/proto.js";
import { type Offers, rowsCovered } from "./offers.js";
import { receiveParts } from "./state-transfer.js";

export interface HealingOptions {
  readonly coordinator: Client;
  readonly message: GenerationMessage;
  /** Positions whose chains this worker is to have. */
  readonly positions: Range;
  /** Positions whose chains it has, of the generation's step. */
  readonly held: Range;
  readonly offers: Offers;
  /** For channels to other workers. */
  readonly security?: Security | undefined;
  readonly signal: AbortSignal;
  readonly log: Logger;
}

export interface Healed {
  readonly state: "fresh" | "keep" | readonly StatePart[];
  readonly chains: readonly StatePart[];
  readonly account: ChainsAccount;
}

/** Longer than any transfer of chains should take: the peer is stopped, or cut off. */
const PEER_TIMEOUT_MS = 60_000;

/** @throws IsoergError when the model could not be had; chains that could not be had begin anew. */
export async function heal(options: HealingOptions): Promise<Healed> {
  const { message, coordinator, positions, signal } = options;
  const size = positions.to - positions.from;
  switch (message.restore) {
    case "fresh":
      return { state: "fresh", chains: [], account: { chainsKept: 0, chainsMoved: 0, chainsRestored: 0, chainsAnew: size } };
    case "checkpoint": {
      const state = await loadCheckpoint(coordinator, message.checkpointStep, ["model", "optimizer", "buffer"], positions, signal);
      const restored = sizeOf(rowsCovered(state).flatMap((range) => intersect(range, positions) ?? []));
      return { state, chains: [], account: { chainsKept: 0, chainsMoved: 0, chainsRestored: restored, chainsAnew: size - restored } };
    }
    case "keep":
      return { state: "keep", ...(await gatherChains(options, options.held)) };
    case "heal": {
      const files = ["model", "optimizer"];
      const state = await fetchFrom(message.donor, { generation: message.generation, files, rowFrom: 0, rowTo: 0 }, options);
      return { state, ...(await gatherChains(options, { from: 0, to: 0 })) };
    }
    default:
      return message.restore satisfies never;
  }
}

async function gatherChains(options: HealingOptions, held: Range): Promise<Pick<Healed, "chains" | "account">> {
  const { message, positions, offers, signal, log } = options;
  const { generation, step } = message;
  const lacking = subtract([positions], [held]);
  const chains = offers.ownRows(step, lacking);
  let missing = subtract(lacking, rowsCovered(chains));
  const ask = async ({ endpoint }: PeerPlace, range: Range): Promise<void> => {
    const request = { generation, files: ["buffer"], rowFrom: range.from, rowTo: range.to };
    try {
      const rows = await fetchFrom(endpoint, request, {
        security: options.security,
        signal: AbortSignal.any([signal, AbortSignal.timeout(PEER_TIMEOUT_MS)]),
      });
      chains.push(...rows);
      missing = subtract(missing, rowsCovered(rows));
    } catch (error) {
      signal.throwIfAborted();
      log.warn({ endpoint, rows: range, err: error }, "chains could not be had from a peer");
    }
  };
  // Whoever is believed to have them first, then everybody: a generation that broke while it formed may have moved them.
  for (const other of message.peers) {
    for (const range of missing.flatMap((part) => intersect(part, { from: other.rowFrom, to: other.rowTo }) ?? [])) await ask(other, range);
  }
  for (const other of message.peers) for (const range of missing) await ask(other, range);
  const numMissing = sizeOf(missing);
  const moved = sizeOf(lacking) - numMissing;
  let restored = 0;
  if (numMissing > 0 && message.hasCheckpoint) {
    for (const range of missing) {
      try {
        const rows = await loadCheckpoint(options.coordinator, message.checkpointStep, ["buffer"], range, signal);
        chains.push(...rows);
        restored += sizeOf(rowsCovered(rows).flatMap((part) => intersect(part, range) ?? []));
      } catch (error) {
        signal.throwIfAborted();
        log.warn({ rows: range, err: error }, "chains could not be had from the last checkpoint");
      }
    }
  }
  const kept = positions.to - positions.from - sizeOf(lacking);
  return { chains, account: { chainsKept: kept, chainsMoved: moved, chainsRestored: restored, chainsAnew: numMissing - restored } };
}

async function fetchFrom(
  endpoint: string,
  request: { generation: number; files: string[]; rowFrom: number; rowTo: number },
  { security, signal }: Pick<HealingOptions, "security" | "signal">,
): Promise<StatePart[]> {
  const client = openClient(endpoint, security, "worker");
  try {
    return await receiveParts(callServerStream(client, peer.fetch, request), { from: request.rowFrom, to: request.rowTo }, signal);
  } finally {
    client.close();
  }
}

/** Whole files, and of the buffer these rows. */
function loadCheckpoint(client: Client, step: number, files: string[], rows: Range, signal: AbortSignal): Promise<StatePart[]> {
  const wanted = rows.to > rows.from ? files : files.filter((file) => file !== "buffer");
  const call = callServerStream(client, coordination.loadState, { step, files: wanted, rowFrom: rows.from, rowTo: rows.to });
  return receiveParts(call, rows, signal);
}
