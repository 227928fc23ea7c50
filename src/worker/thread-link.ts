/**
 * `Link` as the training thread sees it: each call that waits sleeps until the link thread has replied (`channel.ts`). No
 * logic is here; what a call means is in `worker-link.ts`.
 */
import { allocateSummable, summableView } from "../collective/reduce.js";
import { CollectiveInterrupted, type Link } from "../train/link.js";
import { invariant } from "../util/error.js";
import type { BlockingEnd } from "./channel.js";
import type { FromLink, ToLink } from "./messages.js";

type Reply<Kind extends FromLink["kind"]> = Extract<FromLink, { kind: Kind }>;

/** Sends a request and checks that the reply is of the kind that belongs to it. */
export function ask<Kind extends FromLink["kind"]>(end: BlockingEnd<ToLink, FromLink>, message: ToLink, kind: Kind): Reply<Kind> {
  const reply = end.request(message);
  invariant(reply.kind === kind, `the link answered ${message.kind} with ${reply.kind}`);
  return reply as Reply<Kind>;
}

export function createThreadLink(end: BlockingEnd<ToLink, FromLink>): Link {
  const memories = new Map<ArrayBufferLike, number>();
  return {
    next: () => ask(end, { kind: "next" }, "turn").turn,
    ready: ({ generation }) => end.post({ kind: "ready", generation }),
    allocate(numFloats) {
      const memory = allocateSummable(numFloats);
      const id = memories.size;
      memories.set(memory.buffer, id);
      end.post({ kind: "allocated", id, memory });
      return summableView(memory, numFloats);
    },
    startSum(values) {
      const id = memories.get(values.buffer);
      invariant(id !== undefined, "only memory from link.allocate can be summed");
      end.post({ kind: "sum", id, offset: values.byteOffset, length: values.length });
    },
    finishSums() {
      const { result } = ask(end, { kind: "finishSums" }, "sums");
      if (!result.done) throw new CollectiveInterrupted(result.reason);
    },
    vote: (ballot) => ask(end, { kind: "vote", ballot }, "verdict").verdict,
    save(parts) {
      // Copied here, so that the arrays are the loop's again, and handed over without a second copy.
      const copies = parts.map((part) => ({ ...part, data: part.data.slice() }));
      end.post(
        { kind: "save", parts: copies },
        copies.map(({ data }) => data.buffer as ArrayBuffer),
      );
    },
    phase: (name) => end.post({ kind: "phase", name }),
  };
}
