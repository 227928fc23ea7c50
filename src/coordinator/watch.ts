/**
 * Looks for workers that hang: gathers what heartbeats said and what was measured, and carries out what `hang.ts` decides. It also
 * takes in what the measure is made of, each committed step and each generation that has formed.
 */
import type { StepRecord } from "./events.js";
import { decideHang, type WatchedWorker } from "./hang.js";
import { Pace } from "./pace.js";
import type { WorkerEntry } from "./roster.js";
import type { RunState } from "./run-state.js";

export interface WatchNext {
  readonly evict: (worker: WorkerEntry, reason: string) => void;
  readonly retry: (reason: string) => void;
}

export class Watch {
  readonly #state: RunState;
  readonly #next: WatchNext;
  readonly #pace = new Pace();

  constructor(state: RunState, next: WatchNext) {
    this.#state = state;
    this.#next = next;
    let before: number | null = null;
    for (const { generation, worldSize, phasesMs, stepMs } of state.options.recent ?? []) {
      const isFirst = phasesMs.map(() => generation !== before); // of some process, it may be
      this.#pace.committed({ phasesMs, isFirst, share: 1 / worldSize, stepMs });
      before = generation;
    }
  }

  formed(): void {
    const { stage, options } = this.#state;
    if (stage.kind === "forming") this.#pace.formed(stage.restore, options.now() - stage.sinceMs);
  }

  committed({ phasesMs, stepMs }: Pick<StepRecord, "phasesMs" | "stepMs">): void {
    const workers = this.#members();
    this.#pace.committed({ phasesMs, isFirst: workers.map((worker) => worker?.isFresh ?? false), share: this.#share(), stepMs });
    for (const worker of workers) if (worker) worker.isFresh = false;
  }

  look(nowMs: number): void {
    const { stage } = this.#state;
    if (stage.kind !== "stepping" && stage.kind !== "forming") return;
    const share = this.#share();
    const members = this.#members();
    const formingMs = stage.kind === "forming" ? this.#pace.formingMs(stage.restore) : null;
    const workers = members.flatMap((worker, rank): WatchedWorker[] => {
      if (worker === undefined) return [];
      const { workerId, incarnation, doing, isFresh } = worker;
      const expectedMs = this.#pace.phaseMs(doing.phase, share, { isFirst: isFresh }) ?? formingMs;
      return [{ workerId, incarnation, rank, ...doing, expectedMs }];
    });
    const isFirst = members.some((worker) => worker?.isFresh);
    const stageExpectedMs = stage.kind === "forming" ? formingMs : this.#pace.stepMs(share, { isFirst });
    const ready = stage.kind === "forming" ? stage.ready : null;
    const [decision, reason] = decideHang({ workers, stageMs: nowMs - stage.sinceMs, stageExpectedMs, ready }, this.#state.options.hang);
    if (decision.kind === "evict") {
      const worker = this.#state.roster.get(decision.incarnation);
      if (worker) this.#next.evict(worker, reason);
    } else if (decision.kind === "retry") {
      this.#next.retry(reason);
    }
  }

  /** This process was away: what was under way took so much less. */
  passOver(ms: number): void {
    const { stage } = this.#state;
    if (stage.kind === "stepping" || stage.kind === "forming") stage.sinceMs += ms;
  }

  #members(): (WorkerEntry | undefined)[] {
    return this.#state.members.map((incarnation) => this.#state.roster.get(incarnation));
  }

  /** The largest part of a batch that one worker has. */
  #share(): number {
    const weights = this.#state.generation?.weights ?? [1];
    return Math.max(...weights) / weights.reduce((sum, weight) => sum + weight, 0);
  }
}
