/**
 * How a generation begins: its number, ranks and slices are fixed and in the journal before anyone hears of it; then each member
 * is told what to start from, says where its ring socket listens, and is ready when its ring is closed and its state in place.
 * When all are, what the generation was formed for follows: the next step, or one last checkpoint.
 */
import { NO_ADJUSTMENT } from "../config/adjustment.js";
import { slice } from "../data/plan.js";
import type { ChainsAccount, FromWorker } from "../wire/messages.js";
import { type Closing, generationMessages } from "./generation.js";
import { decideRestore, type RestorePlan } from "./restore.js";
import type { WorkerEntry } from "./roster.js";
import type { RunState } from "./run-state.js";
import type { Watch } from "./watch.js";

export interface FormingNext {
  /** Told what the forming took. */
  readonly watch: Pick<Watch, "formed">;
  /** What was waited for has come. */
  readonly reconsider: () => void;
  /** All members are ready. */
  readonly formed: (purpose: "train" | Closing) => void;
  /** These workers asked to leave, and the new members have what they had. */
  readonly release: (isFree: (worker: WorkerEntry) => boolean) => void;
}

export class Forming {
  readonly #state: RunState;
  readonly #next: FormingNext;

  constructor(state: RunState, next: FormingNext) {
    this.#state = state;
    this.#next = next;
  }

  begin(candidates: readonly string[], why: string, purpose: "train" | Closing = "train"): void {
    const state = this.#state;
    const { numSteps, onEvent, now, guard } = state.options;
    const [plan, how] = decideRestore({
      step: state.step,
      members: candidates,
      holds: new Map(candidates.map((incarnation) => [incarnation, state.heldBy(state.roster.get(incarnation))])),
      checkpointStep: state.checkpoints.lastStep,
      isVoided: state.isVoided,
    });
    if (purpose === "train" && state.checkpoints.awaitsAfter(plan.step)) {
      state.stage = { kind: "waiting" };
      state.broken = why;
      state.reason = `${why}; a newer checkpoint than of step ${plan.step} is being written, and waited for`;
      void state.checkpoints.settled.then(() => this.#next.reconsider());
      return;
    }
    const reason = `${why}; ${how}`;
    const { step, restore } = plan;
    const number = state.nextNumber();
    const givers = this.#givers(candidates, plan);
    const generation = { number, members: candidates, weights: state.speeds.weights(candidates) };
    const workers = candidates.map((incarnation) => state.roster.get(incarnation)?.workerId ?? incarnation);
    state.record({ event: "generation", generation: number, step, workers, members: candidates, restore, reason });
    if (state.isOver) return;
    state.generation = generation;
    state.lineage.begin(number, step);
    guard?.forget(step);
    const isLast = step >= numSteps && purpose === "train";
    state.stage = {
      kind: "forming",
      restore: restore === "keep" && plan.holders.length < candidates.length ? "heal" : restore,
      endpoints: new Map(),
      ready: new Map(),
      sinceMs: now(),
      purpose: isLast ? "finish" : purpose,
    };
    state.step = step;
    state.broken = null;
    state.isVoided = false;
    state.regroup = null;
    state.reason = reason;
    state.figures.restart();
    onEvent({ kind: "generation", generation: number, step, workers, reason });
    this.#tell(plan, givers);
    for (const giver of givers) {
      if (!candidates.includes(giver.incarnation) && giver.isRetiring) giver.port.send({ kind: "release", generation: number, step });
    }
  }

  /** Everyone with a session who holds the state that the generation begins with: members, and those who are about to leave. */
  #givers(candidates: readonly string[], plan: RestorePlan): WorkerEntry[] {
    const state = this.#state;
    const present = state.roster.all().filter(({ incarnation, isRetiring }) => isRetiring || candidates.includes(incarnation));
    return present.filter((worker) => plan.restore === "keep" && state.heldBy(worker) === plan.step);
  }

  #tell(plan: RestorePlan, givers: readonly WorkerEntry[]): void {
    const { generation, options, checkpoints, roster } = this.#state;
    if (generation === null) return;
    const messages = generationMessages({
      generation,
      plan,
      checkpointStep: checkpoints.lastStep,
      numChains: options.numChains,
      groupSize: options.groupSize ?? 1,
      givers,
      adjustment: options.guard?.adjustment ?? NO_ADJUSTMENT,
    });
    for (const message of messages) {
      const worker = roster.get(generation.members[message.rank] ?? "");
      if (!worker) continue;
      if (message.restore !== "keep") worker.holds = null;
      if (message.restore === "fresh") worker.isFresh = true; // its loop begins anew
      worker.rows = null;
      worker.port.send({ kind: "generation", ...message });
    }
  }

  /** Its ring socket listens; when all do, each is told of the others. */
  bound(worker: WorkerEntry, message: { readonly generation: number; readonly endpoint: string }): void {
    const { stage, generation, roster } = this.#state;
    const rank = this.#state.rankIn(worker, message.generation);
    if (stage.kind !== "forming" || rank === undefined || generation === null) return;
    const { endpoints } = stage;
    endpoints.set(rank, message.endpoint);
    const { number, members } = generation;
    if (endpoints.size < members.length) return;
    roster.send(members, { kind: "ringPeers", generation: number, endpoints: members.map((_, at) => endpoints.get(at) ?? "") });
  }

  ready(worker: WorkerEntry, message: Extract<FromWorker, { kind: "ready" }>): void {
    const { stage, generation, step, options } = this.#state;
    const rank = this.#state.rankIn(worker, message.generation);
    if (stage.kind !== "forming" || rank === undefined || generation === null) return;
    const { number, members, weights } = generation;
    worker.holds = { generation: number, step };
    worker.rows = slice(options.numChains, rank, weights, options.groupSize);
    stage.ready.set(rank, message);
    if (stage.ready.size < members.length) return;
    this.#next.watch.formed();
    this.#accountForChains(number, [...stage.ready.values()]);
    this.#next.release(({ incarnation }) => !members.includes(incarnation));
    if (this.#state.stage !== stage) return; // somebody else was found to be gone
    this.#next.formed(stage.purpose);
  }

  /** Where the chains came from, if not everyone kept its own. */
  #accountForChains(generation: number, accounts: readonly ChainsAccount[]): void {
    const sum = (of: (account: ChainsAccount) => number): number => accounts.reduce((total, account) => total + of(account), 0);
    const [kept, moved] = [sum((account) => account.chainsKept), sum((account) => account.chainsMoved)];
    const [restored, startedAnew] = [sum((account) => account.chainsRestored), sum((account) => account.chainsAnew)];
    if (moved + restored + startedAnew === 0) return;
    const checkpointStep = restored > 0 ? this.#state.checkpoints.lastStep : null;
    this.#state.record({ event: "chains", generation, kept, moved, restored, checkpointStep, startedAnew });
  }
}
