/**
 * Several workers' trainings in one thread, for tests: each is a function that asks for sums over the workers, and is run again
 * from its beginning whenever another sum has become known. Everything here is deterministic, so it gets there in the end.
 */
import type { Link } from "../../src/train/link.js";
import { createSoloLink, type SoloOptions } from "../../src/train/solo-link.js";

type Sum = (values: Float32Array) => void;

class UnknownYet extends Error {}

/** The results of all workers once every sum is known. */
export function lockstep<T>(workers: readonly ((sum: Sum) => T)[]): T[] {
  const sums: Float32Array[] = [];
  for (;;) {
    const asked: Float32Array[] = [];
    const results: T[] = [];
    for (const worker of workers) {
      let known = 0;
      const sum: Sum = (values) => {
        const value = sums[known++];
        if (!value) {
          asked.push(values.slice());
          throw new UnknownYet("this sum");
        }
        if (value.length !== values.length) throw new Error(`workers sum ${value.length} and ${values.length} values at once`);
        values.set(value);
      };
      try {
        results.push(worker(sum));
      } catch (error) {
        if (!(error instanceof UnknownYet)) throw error;
      }
    }
    if (asked.length === 0) return results;
    if (asked.length !== workers.length) throw new Error(`${asked.length} of ${workers.length} workers ask for another sum`);
    sums.push((asked[0] as Float32Array).map((_, i) => asked.reduce((total, values) => total + (values[i] as number), 0)));
  }
}

export interface Cut {
  /** Of the batch and of the chains: this worker has [from, to), each a share of the whole. */
  readonly from: number;
  readonly to: number;
}

/** A solo link that hands out a part of each batch and of the chains, made of whole groups of samples. The training loop swallows errors, so an unknown sum ends it here. */
export function cutLink(options: SoloOptions, cut: Cut, sum: Sum, groupSize = 1): Link {
  const solo = createSoloLink(options);
  const at = (share: number, count: number) => Math.min(count, groupSize * Math.round(share * Math.ceil(count / groupSize)));
  const part = (count: number) => ({ from: at(cut.from, count), to: at(cut.to, count) });
  let unknown: UnknownYet | undefined;
  return {
    ...solo,
    next() {
      if (unknown) throw unknown;
      const turn = solo.next();
      if (turn.kind === "generation") return { ...turn, assignment: { ...turn.assignment, chains: part(options.numChains) } };
      if (turn.kind !== "step") return turn;
      const { from, to } = part(turn.batchSize);
      const size = turn.images.length / turn.batchSize;
      return {
        ...turn,
        positions: { from, to },
        ids: turn.ids.subarray(from, to),
        labels: turn.labels.slice(from, to),
        images: turn.images.slice(from * size, to * size),
      };
    },
    startSum(values) {
      try {
        sum(values);
      } catch (error) {
        if (error instanceof UnknownYet) unknown = error;
        throw error;
      }
    },
    vote(ballot) {
      if (unknown) throw unknown;
      solo.vote(ballot);
    },
  };
}
