/**
 * The ports that a worker's data sockets listen on: any that is free, or a fixed range that a firewall or a NetworkPolicy can name.
 *
 * Each generation opens fresh sockets while those of the one before may still be closing, so ports are taken in turn, and one
 * that is taken is passed over. A worker needs one port for its peers' server and about three a generation; 16 are plenty.
 */
import { IsoergError, invariant } from "../util/error.js";

export class DataPorts {
  readonly first: number;
  readonly last: number;
  #next: number;

  constructor(first: number, last: number) {
    invariant(first >= 1 && last >= first && last <= 65_535, "a range of ports goes upwards and ends with 65535 at most");
    this.first = first;
    this.last = last;
    this.#next = first;
  }

  /**
   * Tries the ports in turn, from the one after that given last, until `listen` takes one.
   * @param listen rejects with EADDRINUSE (itself, or as its cause) for a port that is taken; anything else is passed on
   * @throws IsoergError NETWORK where all are taken
   */
  async take<T>(listen: (port: number) => Promise<T>): Promise<T> {
    const numPorts = this.last - this.first + 1;
    let taken: unknown;
    for (let attempt = 0; attempt < numPorts; attempt++) {
      const port = this.#next;
      this.#next = port === this.last ? this.first : port + 1;
      try {
        return await listen(port);
      } catch (error) {
        if (!isTaken(error)) throw error;
        taken = error;
      }
    }
    throw new IsoergError("NETWORK", `all ports from ${this.first} to ${this.last} are taken`, {
      hint: "Give each worker of a machine a range of its own.",
      cause: taken,
    });
  }
}

function isTaken(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return ("code" in error && error.code === "EADDRINUSE") || error.message.includes("EADDRINUSE") || isTaken(error.cause);
}
