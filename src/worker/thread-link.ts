/**
 * `Link` as the training thread sees it: each call that waits sleeps until the link thread has replied (`channel.ts`). No
 * logic is here; what a call means is in `worker-link.ts`.
 */
import type { StatePart } from "../checkpoint/state-part.js";
import { allocateSummable, summableView } from "../collective/reduce.js";
import { type Adjustment, isSameAdjustment, NO_ADJUSTMENT } from "../config/adjustment.js";
import { CollectiveInterrupted, type Link, type Turn } from "../train/link.js";
import { invariant } from "../util/error.js";
import type { BlockingEnd } from "./channel.js";
import type { HostSums } from "./host-sums.js";
import type { Pulse } from "./pulse.js";
import type { FromLink, ToLink } from "./thread-messages.js";

type Reply<Kind extends FromLink["kind"]> = Extract<FromLink, { kind: Kind }>;

/** Sends a request and checks that the reply is of the kind that belongs to it. */
export function ask<Kind extends FromLink["kind"]>(end: BlockingEnd<ToLink, FromLink>, message: ToLink, kind: Kind): Reply<Kind> {
  const reply = end.request(message);
  invariant(reply.kind === kind, `the link answered ${message.kind} with ${reply.kind}`);
  return reply as Reply<Kind>;
}

export interface ThreadLink extends Link {
  /** The turn with which training must begin anew, from the seed, or with what the guard changed, in a loop of its own; null when it is over. */
  newBeginning(): Extract<Turn, { kind: "generation" }> | null;
}

export interface ThreadLinkOptions {
  /** Where it shows what it does. */
  readonly pulse: Pulse;
  /** A turn that is due already. */
  readonly first?: Turn | null;
  /** What this training was built with. Default: nothing. */
  readonly adjustment?: Adjustment;
  /** Sums in the host's shared memory, where there is such. */
  readonly hostSums?: HostSums | null;
}

/**
 * A link for one training from its beginning. Where the run goes back to the very start after steps were committed, or the
 * stability guard has changed the configuration, `next` says stop, and the generation that begins anew is kept for the next training.
 */
export function createThreadLink(
  end: BlockingEnd<ToLink, FromLink>,
  { pulse, first = null, adjustment = NO_ADJUSTMENT, hostSums = null }: ThreadLinkOptions,
): ThreadLink {
  const memories = new Map<ArrayBufferLike, number>();
  const due: Turn[] = first ? [first] : [];
  const nextDue = (): Turn => {
    if (due.length === 0) {
      const { turns, member = null } = ask(end, { kind: "next" }, "turns");
      for (const turn of turns) hostSums?.take(turn, member);
      due.push(...turns);
    }
    const turn = due.shift();
    invariant(turn, "the link answers with a turn at least");
    return turn;
  };
  let hasTrained = false;
  let carrier: string | null = null;
  let anew: Extract<Turn, { kind: "generation" }> | null = null;
  /** Copied here, so that the arrays are the loop's again, and handed over without a second copy. */
  const handOver = (kind: "save" | "offer", parts: readonly StatePart[]): void => {
    const copies = parts.map((part) => ({ ...part, data: part.data.slice() }));
    end.post(
      { kind, parts: copies },
      copies.map(({ data }) => data.buffer as ArrayBuffer),
    );
  };
  return {
    newBeginning: () => anew,
    next() {
      const turn = nextDue();
      if (turn.kind === "verdict") hasTrained ||= turn.commit;
      if (turn.kind !== "generation") return turn;
      const isOther = !isSameAdjustment(turn.assignment.adjustment, adjustment);
      if (!isOther && (turn.state !== "fresh" || !hasTrained)) return turn;
      anew = turn;
      return { kind: "stop", outcome: "asked", reason: "training begins anew" };
    },
    ready: ({ generation }) => end.post({ kind: "ready", generation }),
    allocate(numFloats) {
      const id = memories.size;
      if (hostSums) {
        const { values, range } = hostSums.allocate(numFloats);
        memories.set(values.buffer, id);
        end.post({ kind: "allocated", id, memory: range });
        return values;
      }
      const memory = allocateSummable(numFloats);
      memories.set(memory.buffer, id);
      end.post({ kind: "allocated", id, memory });
      return summableView(memory, numFloats);
    },
    startSum(values) {
      if (hostSums?.post(values)) return;
      const id = memories.get(values.buffer);
      invariant(id !== undefined, "only memory from link.allocate can be summed");
      end.post({ kind: "sum", id, offset: values.byteOffset, length: values.length });
    },
    finishSums() {
      if (hostSums?.isDirect) {
        // The link thread has no part in it, but must know: who waits for a peer is not to be taken for one that hangs.
        pulse.wait(true);
        try {
          if (hostSums.finish()) {
            carrier = "memory";
            return;
          }
        } finally {
          pulse.wait(false);
        }
      }
      const { result } = ask(end, { kind: "finishSums" }, "sums");
      if (!result.done) throw new CollectiveInterrupted(result.reason);
      carrier = result.by;
    },
    carrier: () => carrier,
    vote: (ballot) => end.post({ kind: "vote", ballot }),
    save: (parts) => handOver("save", parts),
    offer: (parts) => handOver("offer", parts),
    phase: (name) => pulse.begin(name),
  };
}
