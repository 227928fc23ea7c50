/**
 * What one measuring process is told and what it answers, ours and the peer's alike. A job is a folder: `job.json` as below, and
 * raw little-endian arrays beside it, so that every program starts from the same numbers.
 */
import type { Config } from "../../src/config/schema.js";
import type { EngineOptions } from "../../src/engine/engine.js";
import type { Precision } from "../../src/engine/ops.js";

export interface StepJob {
  readonly config: Config;
  readonly engine: EngineOptions["engine"];
  readonly device: string;
  readonly threads: number;
  /** Of attack and sampling; the update is in fp32. */
  readonly precision: Precision;
  readonly warmupSteps: number;
  readonly timedSteps: number;
  /** [height, width, channels] */
  readonly shape: readonly [number, number, number];
  readonly numClasses: number;
  readonly numSamples: number;
  /** Of the flat vectors in `initial.f32` (where training starts) and `check.f32` (where the forward passes are compared). */
  readonly parameters: readonly { readonly name: string; readonly shape: readonly number[] }[];
}

/** Beside job.json. */
export const jobFiles = {
  initial: "initial.f32",
  check: "check.f32",
  /** uint8 [numSamples,H,W,C] */
  images: "images.u8",
  labels: "labels.i32",
} as const;

export interface StepResult {
  /** Name and version of what computed. */
  readonly program: string;
  /** Whole steps, from commit to commit. */
  readonly stepMs: readonly number[];
  /** Mean milliseconds of each part of a step. */
  readonly partsMs: Readonly<Record<string, number>>;
  /** Mean cross-entropy of the first batch's samples at the parameters of check.f32: the same for all who compute the same model. */
  readonly checkLoss: number;
  /** Largest resident set of the process until the last step, libraries and all: VmHWM of /proc/self/status. */
  readonly peakRssBytes: number;
  /** Resident before the first tensor: the program, its libraries and the samples. */
  readonly startRssBytes: number;
  /** Largest sum of tensors, where the program accounts for them. */
  readonly peakTensorBytes: number | null;
  /** Operations handed to the library below in one step; null where that isn't counted. */
  readonly opsPerStep: number | null;
  /** Best matrix product in the step's precision; null where it was not measured. */
  readonly peakGflops: number | null;
}
