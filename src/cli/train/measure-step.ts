/** Computes a training step here, alone in this process, through the loop and the plan that train for real. Nothing is written. */
import type { Config } from "../../config/schema.js";
import type { ClassGaussians } from "../../data/class-gaussians.js";
import { createPlan } from "../../data/plan.js";
import { pixelsOf, type SampleShape } from "../../data/samples.js";
import type { Ballot } from "../../train/link.js";
import { train } from "../../train/loop.js";
import { createSoloLink } from "../../train/solo-link.js";
import { IsoergError } from "../../util/error.js";
import { configOfStep, type MeasuredStep, type StepSize } from "./step-slice.js";

export interface MeasureStepOptions {
  readonly config: Config;
  readonly size: StepSize;
  readonly data: { readonly shape: SampleShape; readonly numClasses: number };
  /** At least as many as the step has: uint8 images [n,H,W,C] and labels. */
  readonly samples: { readonly images: Uint8Array; readonly labels: Int32Array };
  readonly gaussians: ClassGaussians | null;
}

export interface MeasuredFigures extends MeasuredStep {
  readonly metrics: Readonly<Record<string, number>>;
}

/** Of two steps the second one, from the middle of a training: the first compiles kernels and faults memory in. @throws IsoergError ENGINE */
export function measureStep({ config, size, data, samples, gaussians }: MeasureStepOptions): MeasuredFigures {
  const began = performance.now();
  const { samples: batchSize } = size;
  const images = samples.images.subarray(0, batchSize * pixelsOf(data.shape));
  const labels = samples.labels.subarray(0, batchSize);
  const ballots: Ballot[] = [];
  // A training of two steps: at its second one terms that are warmed up have their weight.
  const numSamples = 2 * batchSize;
  const link = createSoloLink({
    plan: createPlan({ numSamples, batchSize, shuffleBlock: numSamples, seed: BigInt(config.seed) }),
    numSteps: 2,
    numChains: size.chains,
    read: () => ({ images, labels }),
    onCommit: (_step, ballot) => ballots.push(ballot),
  });
  const stop = train({ config: { ...configOfStep(config, size), epochs: 1 }, data: { ...data, numSamples }, gaussians, link });
  const ballot = ballots.at(-1);
  if (stop.outcome !== "finished" || !ballot) throw new IsoergError("ENGINE", `the first step could not be computed: ${stop.reason}`);
  return { size, phasesMs: ballot.phasesMs, metrics: ballot.metrics, tookMs: performance.now() - began };
}
