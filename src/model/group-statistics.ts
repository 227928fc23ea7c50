/**
 * Norms whose statistics are over groups of samples: where a pass takes them from, and how a batch falls into groups.
 *
 * A batch is made of parts (the views of an update), and a part of groups of G consecutive samples; what remains of a part is a
 * group of its own. So a group never mixes parts, and as long as slices and chunks are cut between groups, which samples share
 * one depends on their positions alone (DESIGN.md rule 1).
 */

/** For each kind of pass of a bound model: the running statistics, or those of each group. */
export interface StatisticsPolicy {
  /** Of logits and input gradients: attacks, sampling, evaluation. */
  readonly inner: "running" | "group";
  /** Of `forward`. */
  readonly update: "running" | "group";
}

/** As an evaluation does it. */
export const RUNNING: StatisticsPolicy = { inner: "running", update: "running" };

/** Samples of one kind, one after the other in a batch. */
export interface BatchPart {
  readonly rows: number;
  /** By how much each of its samples pulls the running statistics: momentum / number of samples that do, over all workers; or 0. */
  readonly share: number;
}

/** Of one pass. `parts` null: one part, which leaves the running statistics alone. */
export type PassStatistics = "running" | { readonly parts: readonly BatchPart[] | null };

/** Consecutive groups of one size. */
export interface GroupRun {
  /** The first sample's row. */
  readonly from: number;
  readonly rows: number;
  /** Samples of each group. */
  readonly size: number;
  /** By how much each group pulls the running statistics [rows / size]. */
  readonly pulls: readonly number[];
}

/** The groups of a batch of `rows` samples, in as few runs as there can be: one where every part is made of whole groups. */
export function groupRuns(rows: number, parts: readonly BatchPart[] | null, groupSize: number): GroupRun[] {
  const runs: { from: number; rows: number; size: number; pulls: number[] }[] = [];
  let from = 0;
  for (const part of parts ?? [{ rows, share: 0 }]) {
    for (let left = part.rows; left > 0; ) {
      const size = Math.min(groupSize, left);
      let run = runs.at(-1);
      if (run?.size !== size) {
        run = { from, rows: 0, size, pulls: [] };
        runs.push(run);
      }
      run.pulls.push(size * part.share);
      run.rows += size;
      from += size;
      left -= size;
    }
  }
  return runs;
}
