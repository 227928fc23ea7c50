/**
 * The faults of a worker: what can happen, at which (step, phase), and how it is done from inside. A fault is given in advance
 * with its step, or asked for at run time ("at the next such phase"), over memory that harness, link and training thread share.
 */
import { writeSync } from "node:fs";

/** Phases of a step and of a generation at which a fault may strike, in their order. */
export const PHASES = ["next", "data", "attack", "sample", "gradient", "reduce", "vote", "update", "generation", "offer", "save"];
/** `slow` is a slow reducer in "reduce" and a slow sender in "gradient"; `stop` is SIGSTOP, which the harness ends. */
export const KINDS = ["kill", "exit", "throw", "hang", "slow", "stop"];
export const SLOW_MS = 700;

const asleep = new Int32Array(new SharedArrayBuffer(4));

/** One cell: 0 for none, else 1 + kind + KINDS.length * phase. */
export function encodeFault({ kind, phase }) {
  return 1 + KINDS.indexOf(kind) + KINDS.length * PHASES.indexOf(phase);
}

function decodeFault(code) {
  return { kind: KINDS[(code - 1) % KINDS.length], phase: PHASES[Math.floor((code - 1) / KINDS.length)] };
}

/**
 * @param {{faults: readonly {step: number, phase: string, kind: string, ms?: number}[], cell: SharedArrayBuffer}} plan
 * @returns {(link: import("../../dist/src/train/link.js").Link) => import("../../dist/src/train/link.js").Link}
 */
export function injecting({ faults, cell }) {
  const left = [...faults];
  const asked = new Int32Array(cell);
  let step = -1;
  let hasVoted = false;
  const strike = (phase) => {
    const code = Atomics.load(asked, 0);
    if (code > 0 && decodeFault(code).phase === phase) {
      Atomics.store(asked, 0, 0);
      act(decodeFault(code).kind, { step, phase });
    }
    const at = left.findIndex((fault) => fault.phase === phase && (fault.step === undefined || fault.step === step));
    if (at < 0) return;
    const { kind, ms } = left.splice(at, 1)[0];
    act(kind, { step, phase }, ms);
  };
  return (link) => ({
    ...link,
    next() {
      strike("next");
      const turn = link.next();
      if (turn.kind === "step") {
        ({ step } = turn);
        hasVoted = false;
      }
      if (turn.kind === "generation") strike("generation");
      return turn;
    },
    vote(ballot) {
      hasVoted = true;
      link.vote(ballot);
    },
    phase(name) {
      link.phase(name);
      // The next step is begun before the verdict on this one.
      if (hasVoted && name === "data") {
        step++;
        hasVoted = false;
      }
      strike(name);
    },
    offer(parts) {
      strike("offer");
      link.offer(parts);
    },
    save(parts) {
      strike("save");
      link.save(parts);
    },
  });
}

/** @param ms how long a slow one takes */
function act(kind, where, ms = SLOW_MS) {
  writeSync(1, `${JSON.stringify({ fault: kind, ...where, atMs: Date.now() })}\n`);
  if (kind === "kill") process.kill(process.pid, "SIGKILL");
  else if (kind === "stop") process.kill(process.pid, "SIGSTOP");
  else if (kind === "exit") process.exit(9);
  else if (kind === "hang") Atomics.wait(asleep, 0, 0);
  else if (kind === "slow") Atomics.wait(asleep, 0, 0, ms);
  else throw new Error(`injected at step ${where.step}, ${where.phase}`);
}
