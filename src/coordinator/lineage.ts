/**
 * Which steps were committed in which generation: the run's history in a few numbers, and whether a state that a worker holds
 * belongs to it.
 *
 * A state is named by (generation, step): what its holder had before that step, in that generation. Within a generation all
 * members hold the same bits, and a generation begins with the bits that the one before ended with or with those of an
 * earlier step; so a state is the run's own exactly if its generation came through that step and was not taken back since.
 */

export interface HeldState {
  readonly generation: number;
  /** The first step that is not in it. */
  readonly step: number;
}

interface Segment {
  readonly generation: number;
  readonly from: number;
  /** The first step that it did not commit. */
  to: number;
}

export class Lineage {
  #segments: Segment[] = [];

  /** A generation begins before this step; steps from there on are taken back. */
  begin(generation: number, step: number): void {
    this.#segments = this.#segments.filter(({ from }) => from <= step);
    for (const segment of this.#segments) segment.to = Math.min(segment.to, step);
    this.#segments.push({ generation, from: step, to: step });
  }

  /** Goes back to this step, and to no state that any worker holds: what follows is computed otherwise. */
  forget(step: number): void {
    this.#segments = [{ generation: 0, from: step, to: step }];
  }

  /** The generation under way committed this step. */
  commit(step: number): void {
    const last = this.#segments.at(-1);
    if (last !== undefined) last.to = step + 1;
  }

  /** The first step that is not committed; 0 for a run that has not begun. */
  get step(): number {
    return this.#segments.at(-1)?.to ?? 0;
  }

  /** The generation that began last; 0 for none. */
  get generation(): number {
    return this.#segments.at(-1)?.generation ?? 0;
  }

  /** Whether this state is one that the run came through. */
  has({ generation, step }: HeldState): boolean {
    return this.#segments.some((segment) => segment.generation === generation && segment.from <= step && step <= segment.to);
  }

  /** Whether this step counts as it was computed in this generation. */
  isCommitted(generation: number, step: number): boolean {
    return this.#segments.some((segment) => segment.generation === generation && segment.from <= step && step < segment.to);
  }
}
