/**
 * Hellos, all the way round: each rank sends its own and sends on every other one until its own is back.
 *
 * A rank that has seen them all, in a channel that is first in, first out, knows that the ring is closed, that all believe to be
 * in the same generation, and that every hello is out of the way before the first frame.
 */
import { IsoergError } from "../util/error.js";
import { decodeHello, encodeHello, type Hello, RING_PROTOCOL } from "./hello.js";
import { isTimeout } from "./ring-sockets.js";
import { previousRank, type RingPlace } from "./transport.js";

export interface HelloChannel {
  /** To the next rank. */
  send(hello: Uint8Array): Promise<void>;
  /** The next message, in its parts. Rejects with ZeroMQ's timeout when none came. */
  receive(waitMs: number): Promise<readonly Uint8Array[]>;
  /** Tells of a message that was no hello of this ring. */
  drop(): void;
}

/** @throws IsoergError NETWORK with the ranks that are missing, PROTOCOL when a rank speaks or counts otherwise or is out of place. */
export async function exchangeHellos(place: RingPlace, channel: HelloChannel, timeoutMs: number): Promise<void> {
  const until = performance.now() + timeoutMs;
  const seen = new Set<number>();
  await channel.send(encodeHello(place));
  while (seen.size < place.worldSize) {
    const waitMs = Math.ceil(until - performance.now());
    if (waitMs <= 0) throw noHello(place, seen, timeoutMs);
    const parts = await channel.receive(waitMs).catch((error: unknown) => {
      throw isTimeout(error) ? noHello(place, seen, timeoutMs) : error;
    });
    const [bytes] = parts;
    const hello = parts.length === 1 && bytes !== undefined ? decodeHello(bytes) : undefined;
    if (hello === undefined || bytes === undefined || !isOfRing(hello, place) || seen.has(hello.rank)) {
      channel.drop();
      continue;
    }
    if (seen.size === 0) checkPrevious(hello, place);
    seen.add(hello.rank);
    if (hello.rank !== place.rank) await channel.send(bytes);
  }
}

/** False for another run's or generation's hello; throws when one of this generation can't be worked with. */
function isOfRing(hello: Hello, { run, generation, rank, worldSize }: RingPlace): boolean {
  if (hello.run !== run || hello.generation !== generation) return false;
  if (hello.protocol !== RING_PROTOCOL) {
    const message = `rank ${rank}: rank ${hello.rank} speaks ring protocol ${hello.protocol}, this one ${RING_PROTOCOL}`;
    throw new IsoergError("PROTOCOL", message, { hint: "run the same version of isoerg everywhere" });
  }
  if (hello.worldSize !== worldSize) {
    const message = `rank ${rank}: rank ${hello.rank} counts ${hello.worldSize} ranks in generation ${generation}, this one ${worldSize}`;
    throw new IsoergError("PROTOCOL", message);
  }
  return true;
}

/** The first hello that comes is that of the rank which is connected here. */
function checkPrevious(hello: Hello, place: RingPlace): void {
  if (hello.rank === previousRank(place)) return;
  throw new IsoergError("PROTOCOL", `rank ${place.rank}: rank ${hello.rank} is connected in place of rank ${previousRank(place)}`);
}

function noHello({ rank, worldSize, generation }: RingPlace, seen: ReadonlySet<number>, timeoutMs: number): Error {
  const missing = Array.from({ length: worldSize }, (_, other) => other).filter((other) => other !== rank && !seen.has(other));
  const what = missing.length > 0 ? `no hello from rank ${missing.join(", ")}` : "its own hello did not come round";
  return new IsoergError("NETWORK", `rank ${rank}: ${what} for ${timeoutMs} ms (generation ${generation})`, {
    hint: "the ports that workers listen on must be reachable from the other workers",
  });
}
