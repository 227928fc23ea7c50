/** A run that goes back to the very start gives each worker a new training, not a trained one at step 0. */
import { expect, test } from "vitest";
import { NO_ADJUSTMENT } from "../../src/config/adjustment.js";
import type { Turn } from "../../src/train/link.js";
import type { BlockingEnd } from "../../src/worker/channel.js";
import { Pulse } from "../../src/worker/pulse.js";
import { createThreadLink } from "../../src/worker/thread-link.js";
import type { FromLink, ToLink } from "../../src/worker/thread-messages.js";

const pulse = new Pulse();
const ballot = { ok: true, fault: "none", reason: "", checksum: 0n, metrics: {}, phasesMs: {} } as const;
const fresh = (generation: number): Turn => ({
  kind: "generation",
  assignment: { generation, rank: 0, worldSize: 1, step: 0, chains: { from: 0, to: 1 }, adjustment: NO_ADJUSTMENT },
  state: "fresh",
  chains: [],
});

/** The link thread's answers, in order. */
function answering(...replies: FromLink[]): BlockingEnd<ToLink, FromLink> {
  const end = { post: () => {}, close: () => {}, request: () => replies.shift() as FromLink };
  return end as unknown as BlockingEnd<ToLink, FromLink>;
}

const verdict = (commit: boolean): FromLink => ({ kind: "turns", turns: [{ kind: "verdict", commit, checkpoint: false, reason: "" }] });

test("a fresh generation after a commit ends this training and begins the next", () => {
  const end = answering({ kind: "turns", turns: [fresh(1)] }, verdict(true), { kind: "turns", turns: [fresh(2)] });
  const first = createThreadLink(end, { pulse });
  expect(first.next()).toEqual(fresh(1));
  first.vote(ballot);
  expect(first.next()).toMatchObject({ kind: "verdict", commit: true });
  expect(first.next()).toMatchObject({ kind: "stop", reason: "training begins anew" });
  const second = createThreadLink(end, { pulse, first: first.newBeginning() });
  expect(second.next()).toEqual(fresh(2));
  expect(second.newBeginning()).toBeNull();
});

test("a fresh generation before any commit goes on in the same training", () => {
  const link = createThreadLink(answering({ kind: "turns", turns: [fresh(1)] }, verdict(false), { kind: "turns", turns: [fresh(2)] }), {
    pulse,
  });
  link.next();
  link.vote(ballot);
  link.next();
  expect(link.next()).toEqual(fresh(2));
  expect(link.newBeginning()).toBeNull();
});
