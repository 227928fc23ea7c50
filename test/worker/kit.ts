/**
 * A worker's training loop over a real link, with arithmetic in place of a network: what a test trains is a vector that it says the
 * gradient of, and everything else (state, sums, votes, checkpoints, offers) is answered as the training thread answers it.
 */
import type { StatePart } from "../../src/checkpoint/state-part.js";
import type { StepSlice, Turn } from "../../src/train/link.js";
import { checksum } from "../../src/util/checksum.js";
import { PROTOCOL_VERSION } from "../../src/wire/proto.js";
import { Dialer } from "../../src/worker/dialer.js";
import { WorkerLink, type WorkerLinkOptions } from "../../src/worker/worker-link.js";

export interface ArithmeticTraining {
  /** Of the coordinator, whenever it is looked for. */
  readonly address: () => string;
  readonly workerId: string;
  readonly incarnation: string;
  readonly numParameters: number;
  /** Adds this slice's part of the gradient to zeros. */
  readonly gradientOf: (slice: StepSlice, gradient: Float32Array) => void;
  /** What a parameter becomes of itself and the summed gradient. */
  readonly update: (parameter: number, gradient: number) => number;
  /** Where the gradient is cut into buckets. Default: nowhere. */
  readonly cuts?: readonly number[];
  readonly connectMs: number;
  readonly reconnectMs?: number;
  readonly log: WorkerLinkOptions["log"];
  /** Before its ballot of each step, which waits for it. */
  readonly onStep?: (step: number, link: WorkerLink) => void | Promise<void>;
  /** Given a step to begin while the verdict on the one before it is under way. */
  readonly onAhead?: (step: number) => void;
}

/** Trains until the run ends for this worker. */
export async function trainOverLink(options: ArithmeticTraining): Promise<{ parameters: Float32Array; outcome: string }> {
  const {
    address,
    workerId,
    incarnation,
    numParameters,
    gradientOf,
    update,
    cuts = [],
    connectMs,
    reconnectMs = 0,
    log,
    onStep,
    onAhead,
  } = options;
  const link = new WorkerLink({
    dialer: new Dialer({ whereabouts: async () => [address()], pauseMs: { first: 10, longest: 50 } }),
    hello: { workerId, incarnation, engine: "arithmetic", protocol: PROTOCOL_VERSION },
    ring: () => ({ host: "127.0.0.1" }),
    connectMs,
    reconnectMs,
    log,
  });
  const parameters = new Float32Array(numParameters);
  const gradient = new Float32Array(new SharedArrayBuffer(4 * numParameters));
  const parts = (): StatePart[] => [
    { file: "model", tensor: "parameters", dtype: "F32", shape: [numParameters], row: 0, data: parameters.slice() },
  ];
  let due: Turn[] = [];
  let begun: StepSlice | null = null;
  try {
    await link.welcome();
    for (;;) {
      if (due.length === 0) due = [...(await link.next())];
      const turn = due.shift() as Turn;
      switch (turn.kind) {
        case "stop":
          return { parameters, outcome: turn.outcome };
        case "generation":
          begun = null;
          if (typeof turn.state === "object")
            parameters.set(turn.state.find(({ tensor }) => tensor === "parameters")?.data as Float32Array);
          link.ready(turn.assignment.generation);
          break;
        case "offer":
          link.offer(turn.what === "everything" ? parts() : []);
          break;
        case "save":
          link.save(parts());
          break;
        case "verdict":
          if (!turn.commit) {
            begun = null;
            break;
          }
          for (const [i, value] of parameters.entries()) parameters[i] = update(value, gradient[i] as number);
          if (turn.checkpoint) link.save(parts());
          break;
        default: {
          // What is begun ahead is what the step then is of.
          if (begun && (begun.step !== turn.step || begun.ids !== turn.ids)) throw new Error("another step than was begun");
          gradient.fill(0);
          gradientOf(turn, gradient);
          for (const [i, from] of [0, ...cuts].entries()) link.startSum(gradient.subarray(from, cuts[i] ?? numParameters));
          const sums = await link.finishSums();
          await onStep?.(turn.step, link);
          link.vote({
            ok: sums.done,
            fault: sums.done ? "none" : "collective",
            reason: sums.done ? "" : sums.reason,
            checksum: checksum(parameters),
            metrics: { loss: 1 / (turn.step + 1) },
            phasesMs: { wait: turn.dataWaitMs },
          });
          begun = turn.following;
          if (begun) onAhead?.(begun.step);
        }
      }
    }
  } finally {
    await link.close();
  }
}
