/**
 * Limits of the heap of a thread that trains.
 *
 * Each launch leaves some kilobytes of short-lived objects behind, and V8 lets the space for such objects grow to two halves of 16 MiB
 * before it looks how few of them live on. Halves of 4 MiB cost a network of two small convolutions no time that could be measured (2 MiB:
 * about 5 %) and keep some 9 MB out of the resident set. Tensors lie elsewhere and are not limited.
 */
import type { ResourceLimits } from "node:worker_threads";

const SEMI_SPACE_MB = 4;

/** For a worker thread. V8 counts three semi-spaces to the young generation: two halves, and as much for new large objects. */
export const trainingThreadLimits: ResourceLimits = { maxYoungGenerationSizeMb: 3 * SEMI_SPACE_MB };

/** The same for a process whose first thread trains. */
export const trainingProcessFlags: readonly string[] = [`--max-semi-space-size=${SEMI_SPACE_MB}`];
