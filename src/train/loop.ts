/**
 * The training loop, from the first step to the last: the program's centre.
 *
 * It runs alone on its thread, in one of N workers, and sees the others only through `link`: what to do next, the sum over all
 * workers, the vote. A step that does not commit leaves no trace; it comes again, on the same samples, with the same noise. So the
 * next step is begun before the verdict is here: if that is no, what was begun leaves no trace either.
 */
import { createPhaseClock } from "./clock.js";
import { type Ballot, CollectiveInterrupted, type Turn } from "./link.js";
import { Steps, type StepsOptions, type StepUnderWay } from "./steps.js";

export type TrainOptions = StepsOptions;

/** Trains until the link says stop, and returns why. The engine must have been started. */
export function train(options: TrainOptions): Extract<Turn, { kind: "stop" }> {
  const { config, link } = options;
  const steps = new Steps(options);
  const { state } = steps;
  /** The step after the one that is voted on. */
  let ahead: Attempt<StepUnderWay> | null = null;
  const dropAhead = (): void => {
    if (ahead?.ok) ahead.value.views.dispose();
    ahead = null;
  };
  /** From a vote on: the update, the wait for the verdict, a save; told with the next ballot. */
  let between = createPhaseClock(link.phase);
  let isVoting = false;

  for (;;) {
    const turn = isVoting ? between.within("vote", () => link.next()) : link.next();
    switch (turn.kind) {
      case "step": {
        const begun = ahead ?? attempt(() => steps.begin(turn));
        ahead = null;
        const result = begun.ok ? attempt(() => steps.finish(begun.value)) : begun;
        const ballot = result.ok ? judge(result.value.metrics) : faultOf(result.error);
        const { checksum, phases } = begun.ok ? { checksum: begun.value.checksum, phases: begun.value.input.clock.finish() } : NOTHING;
        const phasesMs = { wait: turn.dataWaitMs, ...phases, ...between.finish() };
        between = createPhaseClock(link.phase);
        between.begin("vote");
        link.vote({ ...ballot, checksum, phasesMs });
        isVoting = true;
        // All workers keep the update, or none does; it is computed while the votes are under way.
        between.begin("update");
        if (ballot.ok && result.ok) state.advance(result.value, { checksum: (turn.step + 1) % config.checkpoint.checksumEvery === 0 });
        between.pause();
        const { following } = turn;
        if (ballot.ok && following && steps.beginAlone) ahead = attempt(() => steps.begin(following));
        break;
      }
      case "verdict":
        isVoting = false;
        if (!turn.commit) {
          state.goBack();
          dropAhead();
          break;
        }
        state.keep();
        if (turn.checkpoint) between.within("save", () => link.save(state.save()));
        break;
      case "generation":
        dropAhead();
        if (turn.state !== "keep") state.buffer?.clear(); // what it holds is of another step
        state.buffer?.assign(turn.assignment.chains);
        if (typeof turn.state === "object") state.restore(turn.state);
        state.buffer?.restore(turn.chains);
        link.ready(turn.assignment);
        break;
      case "offer":
        link.offer(turn.what === "everything" ? state.save() : (state.buffer?.save() ?? []));
        break;
      case "save":
        link.save(state.save());
        break;
      case "stop":
        dropAhead();
        state.dispose();
        return turn;
      default:
        turn satisfies never;
    }
  }
}

/** What breaks in a step is told with its ballot. */
type Attempt<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown };

function attempt<T>(work: () => T): Attempt<T> {
  try {
    return { ok: true, value: work() };
  } catch (error) {
    return { ok: false, error };
  }
}

/** Of a step that broke before its views were made. */
const NOTHING = { checksum: 0n, phases: {} };

/** A step counts when its loss and its gradient are numbers. The sums are the same on every worker, and so is this. */
function judge(metrics: Record<string, number>): Pick<Ballot, "ok" | "fault" | "reason" | "metrics"> {
  const bad = Object.entries(metrics).filter(([, value]) => !Number.isFinite(value));
  if (bad.length === 0) return { ok: true, fault: "none", reason: "", metrics };
  const names = bad.map(([name, value]) => `${name} = ${value}`).join(", ");
  return { ok: false, fault: "non-finite", reason: `the step's figures are not finite: ${names}`, metrics };
}

function faultOf(error: unknown): Pick<Ballot, "ok" | "fault" | "reason" | "metrics"> {
  const reason = error instanceof Error ? error.message : String(error);
  return { ok: false, fault: error instanceof CollectiveInterrupted ? "collective" : "engine", reason, metrics: {} };
}
