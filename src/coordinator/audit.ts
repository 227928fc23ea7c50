/**
 * Reads a journal back as a proof: which steps count in the end, and whether each counts exactly once.
 *
 * A run that lost all its workers goes back to its last checkpoint; the steps committed after that are void, and a later
 * commit of the same step takes their place. Anything else that commits a step twice, or leaves one out, is a fault.
 */
import type { JournalLine } from "./journal.js";

export interface Audit {
  /** The last commit of each step that counts, from 0 on without a gap. */
  readonly commits: readonly Extract<JournalLine, { event: "commit" }>[];
  /** Commits that were taken back because the run went on from an earlier checkpoint. */
  readonly numTakenBack: number;
  /** Sentences; empty when the journal proves exactly-once. */
  readonly faults: readonly string[];
}

export function auditJournal(lines: readonly JournalLine[]): Audit {
  const commits: Extract<JournalLine, { event: "commit" }>[] = [];
  const faults: string[] = [];
  let numTakenBack = 0;
  let generation = 0;
  for (const line of lines) {
    if (line.event === "generation") {
      if (line.generation <= generation) faults.push(`generation ${line.generation} begins after generation ${generation}`);
      generation = line.generation;
      if (line.step > commits.length)
        faults.push(`generation ${line.generation} begins at step ${line.step}, and only ${commits.length} steps were committed`);
      numTakenBack += Math.max(0, commits.length - line.step);
      commits.length = Math.min(commits.length, line.step);
    } else if (line.event === "commit") {
      if (line.generation !== generation)
        faults.push(`step ${line.step} was committed in generation ${line.generation} during generation ${generation}`);
      if (line.step < commits.length) faults.push(`step ${line.step} was committed twice`);
      else if (line.step > commits.length) faults.push(`step ${commits.length} was left out before step ${line.step}`);
      else commits.push(line);
    }
  }
  return { commits, numTakenBack, faults };
}
