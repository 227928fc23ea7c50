/**
 * How fast the run goes, from the times of its last commits: samples a second and the time that is left. The first step of a
 * generation is left out (engines warm up in it). No clock inside.
 */

const WINDOW = 50; // commits

export class Figures {
  #commits: { atMs: number; samples: number }[] = [];

  /** A generation begins: what follows is not measured against what was before. */
  restart(): void {
    this.#commits = [];
  }

  committed(atMs: number, samples: number): void {
    this.#commits.push({ atMs, samples });
    if (this.#commits.length > WINDOW) this.#commits.shift();
  }

  /** 0 until two steps were committed. */
  samplesPerSecond(): number {
    const [first] = this.#commits;
    const last = this.#commits.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    const samples = this.#commits.slice(1).reduce((sum, commit) => sum + commit.samples, 0);
    return (1000 * samples) / (last.atMs - first.atMs);
  }

  /** Seconds for so many more steps; 0 until it can be told. */
  etaSeconds(stepsLeft: number): number {
    const [first] = this.#commits;
    const last = this.#commits.at(-1);
    if (first === undefined || last === undefined || this.#commits.length < 2) return 0;
    return (stepsLeft * (last.atMs - first.atMs)) / (this.#commits.length - 1) / 1000;
  }
}
