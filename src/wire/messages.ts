/**
 * The messages of proto/isoerg/v1 as TypeScript sees them: `oneof`s are discriminated unions, enums are the words of the
 * run, 64-bit numbers are numbers where they count things (checked to be safe) and bigint where they are checksums.
 * The .proto files are the contract; this is its reading, and `codec.ts` turns one into the other.
 */

import type { Adjustment } from "../config/adjustment.js";

// ---- worker to coordinator ----

export type Fault = "none" | "collective" | "non-finite" | "engine";

export interface Hello {
  readonly workerId: string;
  readonly incarnation: string;
  readonly engine: string;
  readonly protocol: number;
  /** host:port of its Peer service. */
  readonly peerEndpoint: string;
  /** What it holds: the state before `holdsStep`, as of this generation; 0 for nothing. */
  readonly holdsGeneration: number;
  readonly holdsStep: number;
  /** A ballot that it has heard no verdict on; 0 for none. */
  readonly pendingGeneration: number;
  readonly pendingStep: number;
  /** Its last commits, oldest first. */
  readonly commits: readonly Committed[];
}

export interface Committed {
  readonly generation: number;
  readonly step: number;
  readonly checksum: bigint;
}

/** What became of the chains at a worker's positions when a generation began. */
export interface ChainsAccount {
  readonly chainsKept: number;
  readonly chainsMoved: number;
  readonly chainsRestored: number;
  readonly chainsAnew: number;
}

export interface BallotMessage {
  readonly generation: number;
  readonly step: number;
  readonly ok: boolean;
  readonly fault: Fault;
  readonly reason: string;
  readonly checksum: bigint;
  /** Of rank 0: they are the same on every worker. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly phasesMs: Readonly<Record<string, number>>;
  readonly sampleIds: readonly number[];
}

export type FromWorker =
  | ({ readonly kind: "hello" } & Hello)
  | ({ readonly kind: "heartbeat"; readonly step: number } & Doing)
  | { readonly kind: "ringBound"; readonly generation: number; readonly endpoint: string }
  | ({ readonly kind: "ready"; readonly generation: number; readonly step: number } & ChainsAccount)
  | ({ readonly kind: "ballot" } & BallotMessage)
  | { readonly kind: "leave"; readonly reason: string; readonly failed: boolean; readonly retire: boolean; readonly code: string };

// ---- coordinator to worker ----

/** What a worker's training thread does, as its heartbeats tell. */
export interface Doing {
  readonly phase: string;
  /** Since the thread was last heard of, or since it waits. Time in which the process was stopped doesn't count. */
  readonly phaseMs: number;
  /** Of that, up to now: for how long the process has hardly used a processor. */
  readonly idleMs: number;
  /** For an answer: a turn, a sum, a verdict. */
  readonly waits: boolean;
}

export type Restore = "fresh" | "checkpoint" | "keep" | "heal";
export type StopOutcome = "finished" | "asked" | "failed";

export interface Welcome {
  readonly runId: string;
  readonly configJson: string;
  readonly manifestJson: string;
  readonly heartbeatMs: number;
  /** Counts the coordinators of this run. */
  readonly term: number;
  /** 0 where the objective has no generated samples. */
  readonly numChains: number;
}

export interface GenerationMessage {
  readonly generation: number;
  readonly rank: number;
  readonly worldSize: number;
  readonly sliceWeights: readonly number[];
  readonly step: number;
  readonly restore: Restore;
  readonly checkpointStep: number;
  readonly hasCheckpoint: boolean;
  readonly give: "" | "chains" | "everything";
  readonly donor: string;
  readonly peers: readonly PeerPlace[];
  readonly adjustment: Adjustment;
}

/** Another worker, and the positions whose chains it is believed to have. */
export interface PeerPlace {
  readonly endpoint: string;
  readonly rowFrom: number;
  readonly rowTo: number;
}

export interface VerdictMessage {
  readonly generation: number;
  readonly step: number;
  readonly commit: boolean;
  readonly reason: string;
  readonly checkpoint: boolean;
  /** Compute the next step now. */
  readonly proceed: boolean;
}

export type ToWorker =
  | ({ readonly kind: "welcome" } & Welcome)
  | ({ readonly kind: "generation" } & GenerationMessage)
  | { readonly kind: "ringPeers"; readonly generation: number; readonly endpoints: readonly string[] }
  | { readonly kind: "proceed"; readonly generation: number; readonly step: number }
  | ({ readonly kind: "verdict" } & VerdictMessage)
  | { readonly kind: "stop"; readonly outcome: StopOutcome; readonly reason: string; readonly code: string }
  | { readonly kind: "save"; readonly generation: number; readonly step: number }
  | { readonly kind: "release"; readonly generation: number; readonly step: number };

// ---- samples ----

export interface SamplesRequest {
  readonly generation: number;
  readonly rank: number;
  readonly fromStep: number;
}

export interface SampleBlock {
  readonly step: number;
  readonly epoch: number;
  readonly batchSize: number;
  readonly sliceFrom: number;
  readonly sliceTo: number;
  readonly position: number;
  readonly ids: readonly number[];
  readonly labels: Uint8Array;
  readonly images: Uint8Array;
}

export interface SampleBlocks {
  readonly blocks: readonly SampleBlock[];
}

export interface DatasetFileRequest {
  readonly name: string;
}

export interface FileBlock {
  readonly data: Uint8Array;
}

// ---- state ----

export interface StateBlock {
  readonly generation: number;
  readonly step: number;
  readonly rank: number;
  readonly file: string;
  readonly tensor: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly data: Uint8Array;
}

export interface SaveStateReply {
  readonly receivedBytes: number;
}

export interface FetchRequest {
  readonly generation: number;
  readonly files: readonly string[];
  readonly rowFrom: number;
  readonly rowTo: number;
}

export interface LoadStateRequest {
  readonly step: number;
  readonly files: readonly string[];
  readonly rowFrom: number;
  readonly rowTo: number;
}

// ---- run control ----

export type RunState = "waiting" | "training" | "stopping" | "finished" | "stopped" | "failed";

export interface Member {
  readonly workerId: string;
  readonly rank: number;
  readonly engine: string;
  readonly phase: string;
  readonly step: number;
  readonly stepMs: number;
  /** Of the step's time, in its own phases. */
  readonly share: number;
}

export interface RunStatus {
  readonly runId: string;
  readonly name: string;
  readonly state: RunState;
  readonly reason: string;
  readonly generation: number;
  readonly step: number;
  readonly numSteps: number;
  readonly epoch: number;
  readonly samplesPerSecond: number;
  readonly etaSeconds: number;
  readonly metrics: Readonly<Record<string, number>>;
  readonly members: readonly Member[];
}

export interface StopRequest {
  readonly reason: string;
}

export interface StopReply {
  readonly step: number;
}
