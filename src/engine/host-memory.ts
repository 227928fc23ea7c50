/**
 * Memory figures for engines whose tensors live in the process's own memory and that keep no account of their own: the
 * peak is the largest resident set that the operating system has seen of this process, program and all.
 */
import * as tf from "@tensorflow/tfjs-core";

export function hostMemory(): { numTensors: number; bytes: number; peakBytes: number } {
  const { numTensors, numBytes } = tf.memory();
  return { numTensors, bytes: numBytes, peakBytes: process.resourceUsage().maxRSS * 1024 };
}
