/**
 * A training in one process with no communication stack at all: no coordinator, no sockets, no link thread; the loop, the plan and
 * the samples are those of `isoerg train`. `fork`ed by trainings.ts: alone for T(1), several at once for what this machine gives
 * to independent processes.
 */
import { once } from "node:events";
import type { Config } from "../../src/config/schema.js";
import { createPlan, numSteps } from "../../src/data/plan.js";
import { pixelsOf } from "../../src/data/samples.js";
import { startEngine } from "../../src/engine/choose.js";
import type { EngineOptions } from "../../src/engine/engine.js";
import { readTrialData, samplesOf } from "../../src/sweep/trial/trial-data.js";
import { train } from "../../src/train/loop.js";
import { createSoloLink } from "../../src/train/solo-link.js";

export interface SoloTask {
  readonly config: Config;
  readonly engine: EngineOptions;
}

export type SoloReply =
  | { readonly kind: "ready" }
  | {
      readonly kind: "done";
      /** When each step was committed, in milliseconds since the epoch, with fractions. */
      readonly endsMs: readonly number[];
      readonly phasesMs: readonly Readonly<Record<string, number>>[];
    };

async function prepare({ config, engine }: SoloTask): Promise<() => Extract<SoloReply, { kind: "done" }>> {
  const data = await readTrialData(config.data.path, { numValidation: 0, subset: config.data.subset });
  const { shape, numClasses, training, gaussians } = data;
  const numSamples = training.labels.length;
  const sizes = { numSamples, batchSize: config.data.batchSize };
  await startEngine(engine);
  const endsMs: number[] = [];
  const phasesMs: Record<string, number>[] = [];
  const link = createSoloLink({
    plan: createPlan({ ...sizes, shuffleBlock: config.data.shuffleBlock, seed: BigInt(config.seed) }),
    numSteps: numSteps(sizes, config.epochs),
    numChains: config.sampler.chains,
    read: (ids) => samplesOf(training, ids, pixelsOf(shape)),
    onCommit(_, ballot) {
      endsMs.push(performance.timeOrigin + performance.now());
      phasesMs.push(ballot.phasesMs);
    },
  });
  return () => {
    const stop = train({ config, data: { shape, numClasses, numSamples }, gaussians, link });
    if (stop.outcome !== "finished") throw new Error(stop.reason);
    return { kind: "done", endsMs, phasesMs };
  };
}

if (process.send) {
  const say = (reply: SoloReply): void => void process.send?.(reply);
  const [task] = (await once(process, "message")) as [SoloTask];
  const run = await prepare(task);
  const told = once(process, "message"); // listened for before anybody can say it
  say({ kind: "ready" });
  await told; // all begin at once
  say(run());
  process.disconnect();
}
