/**
 * Which process stands for each worker: the one that joined last under its name. Those before it are fenced for good, whenever they
 * come back; and those of the run's last generation are waited for when it is taken up again.
 */
import type { MembershipState } from "./membership.js";
import type { Start } from "./standing.js";

export class Sessions {
  readonly #start: Pick<Start, "members" | "superseded">;
  readonly #latest = new Map<string, string>();
  readonly #superseded: Set<string>;

  constructor(start: Pick<Start, "members" | "superseded">) {
    this.#start = start;
    this.#superseded = new Set(start.superseded);
    for (const { workerId, incarnation } of start.members) this.#latest.set(workerId, incarnation);
  }

  /** @returns false for a process whose place another one has */
  admits(workerId: string, incarnation: string): boolean {
    if (this.#superseded.has(incarnation)) return false;
    const predecessor = this.#latest.get(workerId);
    if (predecessor !== undefined && predecessor !== incarnation) this.#superseded.add(predecessor);
    this.#latest.set(workerId, incarnation);
    return true;
  }

  /** Of the run's last generation before this coordinator: who may still come back. */
  awaited(isHere: (incarnation: string) => boolean): Pick<MembershipState["awaited"], "workers" | "numBack"> {
    const { members } = this.#start;
    const away = members.filter(({ incarnation }) => !isHere(incarnation) && !this.#superseded.has(incarnation));
    const numBack = members.filter(({ incarnation }) => isHere(incarnation)).length;
    return { workers: away.map(({ workerId }) => workerId), numBack };
  }
}
