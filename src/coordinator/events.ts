/**
 * What a run tells whoever watches it: the terminal, TensorBoard, a dashboard, tests. A sink is told after the fact and can
 * change nothing; one that fails is logged and left out, never the run's end.
 */
import type { ErrorCode } from "../util/error.js";

export type RunEvent =
  | {
      readonly kind: "generation";
      readonly generation: number;
      readonly step: number;
      readonly workers: readonly string[];
      readonly reason: string;
    }
  | ({ readonly kind: "commit" } & StepRecord & { readonly ids: Uint32Array; readonly checksum: bigint })
  | { readonly kind: "checkpoint"; readonly step: number; readonly path: string; readonly ms: number }
  | { readonly kind: "notice"; readonly message: string }
  | { readonly kind: "ended"; readonly outcome: Outcome };

/** One line of metrics.jsonl. */
export interface StepRecord {
  readonly step: number;
  /** Passes over the data after this step; a fraction. */
  readonly epoch: number;
  readonly generation: number;
  readonly worldSize: number;
  readonly batchSize: number;
  readonly time: string;
  /** Since the coordinator said "proceed". */
  readonly stepMs: number;
  readonly samplesPerSecond: number;
  /** Of rank 0, over the whole batch. */
  readonly metrics: Readonly<Record<string, number>>;
  /** By rank. */
  readonly phasesMs: readonly Readonly<Record<string, number>>[];
}

export interface Outcome {
  readonly kind: "finished" | "asked" | "failed";
  readonly reason: string;
  /** What kind of failure, or TERMINATED where a signal asked; null where there is nothing to add. */
  readonly code: ErrorCode | null;
  /** Committed steps. */
  readonly step: number;
  /** Of the last whole checkpoint; null for none. */
  readonly checkpointStep: number | null;
}

export interface MetricSink {
  write(record: StepRecord): void | Promise<void>;
  close(): Promise<void>;
}
