/**
 * Workers that compute nothing: each has a connection and a session of its own, as a real one has, says its heartbeats, votes for
 * every step with the plan's samples, and, where asked to, takes in its slices of the samples. Many in one process, `fork`ed by
 * control-plane.ts, apart from the coordinator, whose processor time is measured.
 *
 * The latency of a commit is seen from here: from the last ballot of a step written to the verdict read, by each worker.
 */
import { Client, credentials } from "@grpc/grpc-js";
import { createPlan, type Plan, type PlanOptions, slice } from "../../src/data/plan.js";
import { callServerStream } from "../../src/wire/client.js";
import type { GenerationMessage, ToWorker } from "../../src/wire/messages.js";
import { coordination, MAX_MESSAGE_BYTES, PROTOCOL_VERSION } from "../../src/wire/proto.js";
import { Prefetch } from "../../src/worker/prefetch.js";
import { Session } from "../../src/worker/session.js";

export interface LightWorkersTask {
  readonly address: string;
  readonly workers: number;
  readonly plan: PlanOptions;
  readonly warmupSteps: number;
  readonly steps: number;
  /** Between "proceed" and the ballot. */
  readonly computeMs: number;
  /** Whether each takes its slices in. */
  readonly feed: boolean;
}

export interface LightWorkersResult {
  /** Of each step, last ballot to last verdict. */
  readonly commitMs: readonly number[];
  /** Of each step, "proceed" to "proceed". */
  readonly stepMs: readonly number[];
  /** Joining, all of them: first session to first "proceed". */
  readonly formMs: number;
  /** 0 where none were taken in. */
  readonly bytesPerSample: number;
  /** Why a worker left early, where one did. */
  readonly lost: readonly string[];
}

/** As many figures as a ballot of the joint objective has. */
const METRICS = Object.fromEntries(
  ["loss", "accuracy/clean", "accuracy/adversarial", "energy/clean", "energy/adversarial", "energy/generated", "gap/adversarial-absolute"]
    .concat(["gradient-norm", "learning-rate", "clean-ce", "adversarial-ce", "contrast", "energy-l2", "align-adversarial"])
    .map((name) => [name, 0.5]),
);
const PHASES = { wait: 0, data: 1, attack: 1, sample: 1, gradient: 1, reduce: 1, vote: 1, update: 1 };

interface StepClock {
  proceededAt: number;
  lastBallotAt: number;
  lastVerdictAt: number;
}

export async function runLightWorkers(task: LightWorkersTask): Promise<LightWorkersResult> {
  const { workers, warmupSteps, steps } = task;
  const plan = createPlan(task.plan);
  const clocks = new Map<number, StepClock>();
  const received = { samples: 0, bytes: 0 };
  const lost: string[] = [];
  const startedAt = performance.now();
  let onLost: () => void = () => {};
  const firstLost = new Promise<void>((resolve) => {
    onLost = resolve;
  });
  const ended: Promise<void>[] = [];
  for (let i = 0; i < workers; i++) ended.push(oneWorker(i, task, { plan, clocks, received, lost, onLost }));
  await Promise.race([Promise.all(ended), firstLost]);
  const counted = Array.from({ length: steps }, (_, i) => clocks.get(warmupSteps + i)).filter((clock) => clock !== undefined);
  const proceeds = [...clocks].sort(([a], [b]) => a - b).map(([, { proceededAt }]) => proceededAt);
  return {
    commitMs: counted
      .filter(({ lastVerdictAt }) => lastVerdictAt > 0)
      .map(({ lastBallotAt, lastVerdictAt }) => lastVerdictAt - lastBallotAt),
    stepMs: proceeds
      .slice(1)
      .map((at, i) => at - (proceeds[i] as number))
      .slice(warmupSteps, warmupSteps + steps - 1),
    formMs: (proceeds[0] ?? Number.NaN) - startedAt,
    bytesPerSample: received.samples > 0 ? received.bytes / received.samples : 0,
    lost,
  };
}

interface Shared {
  readonly plan: Plan;
  readonly clocks: Map<number, StepClock>;
  readonly received: { samples: number; bytes: number };
  readonly lost: string[];
  readonly onLost: () => void;
}

/** Lives until the coordinator says stop, or its session is lost. */
function oneWorker(index: number, task: LightWorkersTask, { plan, clocks, received, lost, onLost }: Shared): Promise<void> {
  const client = new Client(task.address, credentials.createInsecure(), {
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.use_local_subchannel_pool": 1, // a connection of its own
    "grpc-node.flow_control_window": 4 * 2 ** 20,
  });
  let end: () => void = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  let generation: GenerationMessage | null = null;
  let prefetch: Prefetch | null = null;
  let step = 0;

  const vote = (): void => {
    if (generation === null) return;
    const { ids } = plan.batchOf(step);
    const { from, to } = slice(ids.length, generation.rank, generation.sliceWeights);
    const clock = clocks.get(step);
    if (clock) clock.lastBallotAt = performance.now();
    session.send({
      kind: "ballot",
      ...{ generation: generation.generation, step, ok: true, fault: "none", reason: "", checksum: 0n },
      metrics: generation.rank === 0 ? METRICS : {}, // as workers do
      phasesMs: PHASES,
      sampleIds: Array.from(ids.subarray(from, to)),
    });
  };
  const takeStep = async (): Promise<void> => {
    if (prefetch !== null) {
      const { ids, images } = await prefetch.next();
      received.samples += ids.length;
      received.bytes += images.length;
    }
    if (task.computeMs > 0) setTimeout(vote, task.computeMs);
    else vote();
  };
  const finish = (): void => {
    prefetch?.close();
    client.close();
    end();
  };
  const proceed = (to: number): void => {
    step = to;
    if (!clocks.has(step)) clocks.set(step, { proceededAt: performance.now(), lastBallotAt: 0, lastVerdictAt: 0 });
    takeStep().catch(() => {}); // the stream's end at the run's end
  };
  const onMessage = (message: ToWorker): void => {
    switch (message.kind) {
      case "generation":
        generation = message;
        session.send({ kind: "ringBound", generation: message.generation, endpoint: `127.0.0.1:${index + 1}` });
        break;
      case "ringPeers": {
        if (generation === null) break;
        const { generation: number, rank, step: fromStep } = generation;
        if (task.feed) prefetch = new Prefetch(callServerStream(client, coordination.samples, { generation: number, rank, fromStep }));
        session.send({
          ...{ kind: "ready", generation: number, step: fromStep },
          ...{ chainsKept: 0, chainsMoved: 0, chainsRestored: 0, chainsAnew: 0 },
        });
        break;
      }
      case "proceed":
        proceed(message.step);
        break;
      case "verdict": {
        const clock = clocks.get(message.step);
        if (clock) clock.lastVerdictAt = performance.now();
        if (message.proceed) proceed(message.step + 1);
        break;
      }
      case "stop":
        session.drop();
        finish();
        break;
      default: // welcome, and what only a worker with state is asked for
    }
  };
  const session = new Session({
    client,
    hello: {
      ...{ workerId: `light-${index}`, incarnation: `light-${index}`, engine: "none", protocol: PROTOCOL_VERSION },
      ...{ peerEndpoint: "", holdsGeneration: 0, holdsStep: 0, pendingGeneration: 0, pendingStep: 0, commits: [] },
    },
    onMessage,
    onLost(reason) {
      lost.push(reason);
      onLost();
      finish();
    },
    doing: () => ({ step, phase: "gradient", phaseMs: 0, idleMs: 0, waits: false }),
  });
  return ended;
}

if (process.send) {
  process.once("message", async (task: LightWorkersTask) => {
    process.send?.(await runLightWorkers(task), () => process.disconnect());
  });
}
