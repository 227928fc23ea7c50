/**
 * The coordinator, lost and found: one object a worker process, over as many sessions as it takes. Each session begins with what
 * this worker holds; when one is lost, the coordinator is looked for again, or another one that leads the same run, until the
 * time is over. One that was replaced meanwhile (its term is lower than one that was seen) is left at once and never obeyed.
 */
import type { Client } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { advertised, portOf } from "../collective/data-address.js";
import type { Security } from "../security/security.js";
import type { ErrorCode } from "../util/error.js";
import type { FromWorker, Hello, ToWorker, Welcome } from "../wire/messages.js";
import type { RunningServer } from "../wire/server.js";
import type { Dialer } from "./dialer.js";
import type { Holdings } from "./holdings.js";
import type { Offers } from "./offers.js";
import { startPeerServer } from "./peer-server.js";
import { Session, type SessionOptions } from "./session.js";
import type { RingAddress } from "./sums.js";
import type { StopTurn } from "./turns.js";

export interface ConnectionOptions {
  readonly dialer: Dialer;
  readonly hello: Pick<Hello, "workerId" | "incarnation" | "engine" | "protocol">;
  /** Where this worker's ring sockets, and its server for peers, listen; by the coordinator's address. */
  readonly ring: (coordinator: string) => RingAddress;
  /** How long the coordinator is looked for at first, and after it was lost. */
  readonly connectMs: number;
  readonly reconnectMs: number;
  /** Of this worker's server for peers, and of its channels to them. */
  readonly security?: Security | undefined;
  readonly log: Logger;
}

/** What the connection needs of the worker, and tells it. */
export interface ConnectionUse {
  /** What peers may ask for. */
  readonly offers: Offers;
  /** What this worker has of the run, for a hello. */
  readonly holds: () => ReturnType<Holdings["describe"]>;
  /** For heartbeats. */
  readonly doing: SessionOptions["doing"];
  /** It is over for this worker: nobody is looked for any more. */
  readonly isOver: () => boolean;
  /** It asked to leave: a coordinator that goes away meanwhile is not looked for. */
  readonly isRetiring: () => boolean;
  readonly onMessage: (message: ToWorker) => void;
  /** The coordinator is away, and looked for. */
  readonly onAway: () => void;
  /** There is none for this worker any more. */
  readonly onEnd: (stop: StopTurn) => void;
  /** Ends a search. */
  readonly signal: AbortSignal;
}

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #use: ConnectionUse;
  #client: Client | null = null;
  #session: Session | null = null;
  #ring: RingAddress = {};
  #peers: RunningServer | null = null;
  #welcome: Welcome | null = null;
  /** The highest that was seen: a coordinator of a lower one has been replaced. */
  #term = 0;

  constructor(options: ConnectionOptions, use: ConnectionUse) {
    this.#options = options;
    this.#use = use;
    void this.#connect(options.connectMs);
  }

  /** To the coordinator; null while it is away. */
  get client(): Client | null {
    return this.#client;
  }

  get ring(): RingAddress {
    return this.#ring;
  }

  /** The last one; null before a coordinator has taken this worker in. */
  get welcome(): Welcome | null {
    return this.#welcome;
  }

  get isOpen(): boolean {
    return this.#session !== null;
  }

  /** Passed over while the coordinator is away. */
  send(message: FromWorker): void {
    this.#session?.send(message);
  }

  /** Says goodbye, and waits up to `timeoutMs` until the coordinator has heard it. */
  async leave(timeoutMs: number, last?: FromWorker): Promise<void> {
    await this.#session?.leave(timeoutMs, last);
  }

  /** After `leave`: closes what is left. */
  async close(): Promise<void> {
    await this.#peers?.close(0);
    this.#client?.close();
  }

  /** This coordinator is not the one any more: another is looked for. */
  abandon(reason: string): void {
    this.#session?.drop();
    this.#lost(reason, false);
  }

  /** A coordinator takes this worker in. @returns whether it is the one to obey */
  welcomed(message: Welcome): boolean {
    if (message.term < this.#term) {
      this.abandon(`coordinator ${message.term} of this run was replaced by coordinator ${this.#term}`);
      return false;
    }
    if (this.#welcome && this.#welcome.runId !== message.runId) {
      const reason = `the coordinator leads another run, ${message.runId}`;
      this.#use.onEnd({ kind: "stop", outcome: "failed", reason, code: "PROTOCOL" });
      return false;
    }
    this.#term = message.term;
    this.#welcome = message;
    this.#options.dialer.succeeded();
    return true;
  }

  async #connect(timeoutMs: number): Promise<void> {
    const { dialer, ring, security, hello } = this.#options;
    const { offers, holds, doing, isOver, onMessage, onEnd, signal } = this.#use;
    try {
      const { client, address } = await dialer.reach(timeoutMs, signal);
      this.#ring = ring(address);
      this.#peers ??= await startPeerServer(this.#ring, offers, security);
      if (isOver()) return client.close();
      this.#client = client;
      const { workerId, incarnation, engine, protocol } = hello;
      this.#session = new Session({
        client,
        hello: { workerId, incarnation, engine, protocol, peerEndpoint: this.#peerEndpoint(), ...holds() },
        onMessage,
        onLost: (reason, { isRefusal }) => this.#lost(reason, isRefusal),
        doing,
      });
    } catch (error) {
      if (isOver()) return;
      const code: ErrorCode = this.#welcome === null ? "NETWORK" : "UNREACHABLE";
      onEnd({ kind: "stop", outcome: "failed", reason: (error as Error).message, code });
    }
  }

  #peerEndpoint(): string {
    const { address } = this.#peers as RunningServer;
    return advertised(this.#ring, portOf(address));
  }

  #lost(reason: string, isRefusal: boolean): void {
    const client = this.#client;
    this.#session = null;
    this.#client = null;
    const { isOver, isRetiring, onEnd, onAway } = this.#use;
    if (isOver()) return;
    const { reconnectMs, log } = this.#options;
    if (isRefusal) {
      onEnd({ kind: "stop", outcome: "failed", reason, code: "PROTOCOL" });
    } else if (isRetiring() || reconnectMs === 0) {
      onEnd({ kind: "stop", outcome: "failed", reason, code: isRetiring() ? "TERMINATED" : "UNREACHABLE" });
    } else {
      log.warn({ reason }, "the coordinator is away; looking for it");
      client?.close();
      void this.#connect(reconnectMs);
      onAway();
    }
  }
}
