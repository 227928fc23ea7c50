/**
 * What a worker's training waits for, put together from what the coordinator says: turns, sums, verdicts. One object a worker
 * process; it lives on the link thread and never blocks.
 *
 * The coordinator's word is final. A new generation voids what was under way: pending sums end, a pending vote is answered
 * "not committed", and the first step that counts comes again. When the coordinator is lost, this worker keeps what it has,
 * its pending vote included, and finds the coordinator again, or another one that has the journal; the verdict may then come
 * from that one. Only a stop, or too long a search, ends every wait. So the training thread is never left asleep.
 */
import { type Client, type ServiceError, status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import type { StatePart } from "../checkpoint/state-part.js";
import { groupSizeOf } from "../config/group-size.js";
import type { Config } from "../config/schema.js";
import type { Security } from "../security/security.js";
import type { Ballot, Turn, Verdict } from "../train/link.js";
import { crc32 } from "../util/crc32.js";
import { type ErrorCode, IsoergError } from "../util/error.js";
import type { Range } from "../util/range.js";
import type { FromWorker, GenerationMessage, Hello, ToWorker, VerdictMessage, Welcome } from "../wire/messages.js";
import type { RunningServer } from "../wire/server.js";
import { Change } from "./change.js";
import type { Dialer } from "./dialer.js";
import { heal } from "./healing.js";
import { Holdings } from "./holdings.js";
import type { SumsResult } from "./messages.js";
import { Offers } from "./offers.js";
import { startPeerServer } from "./peer-server.js";
import { Place } from "./place.js";
import { Session } from "./session.js";
import { type SaveOptions, sendState } from "./state-transfer.js";
import type { RingAddress, SharedVectors } from "./sums.js";

export type StopTurn = Extract<Turn, { kind: "stop" }> & {
  /** An error's code, or empty. */
  readonly code: string;
};

export interface WorkerLinkOptions {
  readonly dialer: Dialer;
  readonly hello: Pick<Hello, "workerId" | "incarnation" | "engine" | "protocol">;
  /** Where this worker's ring sockets, and its server for peers, listen; by the coordinator's address. */
  readonly ring: (coordinator: string) => RingAddress;
  /** How long the coordinator is looked for at first, and after it was lost. */
  /** Where the training thread's vectors lie. Default: in memory of its own. */
  readonly shared?: SharedVectors | null;
  readonly connectMs: number;
  readonly reconnectMs: number;
  /** Of this worker's server for peers, and of its channels to them. */
  readonly security?: Security | undefined;
  readonly log: Logger;
  readonly now?: () => number;
}

const GOODBYE_MS = 5_000;
/** After a stream of samples broke: how long its session's end, or a new generation, may take to come. */
const FOLLOWED_MS = 5_000;

export class WorkerLink {
  readonly #options: WorkerLinkOptions;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #change = new Change();
  readonly #holdings = new Holdings();
  readonly #offers = new Offers();
  readonly #uploads = new Set<Promise<void>>();
  readonly #over = new AbortController();
  #client: Client | null = null;
  #session: Session | null = null;
  #ring: RingAddress = {};
  #peers: RunningServer | null = null;
  #welcome: Welcome | null = null;
  /** The highest that was seen: a coordinator of a lower one has been replaced. */
  #term = 0;
  #numChains = 0;
  #groupSize = 1;
  #network: Partial<Config["communication"]> = {};
  #place: Place | null = null;
  /** A generation that the training thread has not been told of. */
  #pending: Place | null = null;
  /** Not a member any more, but others still need this worker's chains. */
  #releasing: { readonly step: number; isOffered: boolean } | null = null;
  /** Positions whose chains the training thread holds. */
  #rows: Range = { from: 0, to: 0 };
  #computing: { readonly generation: number; readonly step: number; readonly ids: Uint32Array } | null = null;
  #verdict: VerdictMessage | null = null;
  #toSave: SaveOptions | null = null;
  /** A checkpoint is wanted without a step before it. */
  #saveTurn = false;
  #retiring: string | null = null;
  #stop: StopTurn | null = null;
  #phase = "starting";
  #phaseSinceMs: number;
  #sayStopped: () => void = () => {};
  /** Resolves when the run is over for this worker, whatever ended it. */
  readonly stopped: Promise<void> = new Promise((resolve) => {
    this.#sayStopped = resolve;
  });

  constructor(options: WorkerLinkOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#now = options.now ?? (() => performance.now());
    this.#phaseSinceMs = this.#now();
    void this.#connect(options.connectMs);
  }

  // ---- what the training thread asks ----

  /** Resolves when a coordinator has taken this worker in; null when none ever will. */
  async welcome(): Promise<{ readonly welcome: Welcome; readonly client: Client } | null> {
    while ((this.#welcome === null || this.#client === null) && this.#stop === null) await this.#change.wait();
    return this.#stop || !this.#welcome || !this.#client ? null : { welcome: this.#welcome, client: this.#client };
  }

  async next(): Promise<Turn> {
    this.#computing = null;
    for (;;) {
      if (this.#stop) return this.#stop;
      const turn = await this.#turn();
      if (turn) return turn;
    }
  }

  /** @returns null when there is none yet: look again */
  async #turn(): Promise<Turn | null> {
    const pending = this.#pending;
    const giving = this.#releasing ?? pending;
    if (giving && !giving.isOffered && (this.#releasing || pending?.message.give)) {
      giving.isOffered = true;
      return { kind: "offer", what: !this.#releasing && pending?.message.give === "everything" ? "everything" : "chains" };
    }
    if (pending) return this.#generationTurn(pending);
    if (this.#saveTurn) {
      this.#saveTurn = false;
      return { kind: "save" };
    }
    if (this.#place && this.#place.proceed !== null) return this.#stepTurn(this.#place);
    this.phase("idle");
    await this.#change.wait();
    return null;
  }

  /** The present generation's part in the host's shared memory, for the training thread. */
  get member(): number | null {
    return this.#place?.sums.member ?? null;
  }

  ready(generation: number): void {
    const place = this.#place;
    if (place?.message.generation !== generation) return;
    this.#holdings.hold(generation, place.message.step);
    place.isStateReady = true;
    this.#sayReady(place);
  }

  offer(parts: readonly StatePart[]): void {
    const step = this.#releasing?.step ?? this.#pending?.message.step ?? this.#place?.message.step;
    if (step !== undefined) this.#offers.add(step, parts);
  }

  startSum(values: Float32Array): void {
    if (this.#isCurrent()) this.#place?.sums.start(values);
  }

  async finishSums(): Promise<SumsResult> {
    const place = this.#place;
    if (!place || !this.#isCurrent()) return { done: false, reason: "the generation is over" };
    const result = await place.sums.finish();
    return this.#isCurrent() ? result : { done: false, reason: "the generation is over" };
  }

  /** Waits for the verdict, over a lost session too: only a generation, a verdict or a stop ends it. */
  async vote(ballot: Ballot): Promise<Verdict> {
    const computing = this.#computing;
    if (computing && this.#isCurrent()) {
      this.#verdict = null;
      const { generation, step } = computing;
      if (ballot.ok) this.#holdings.vote({ generation, step, checksum: ballot.checksum });
      this.#session?.send({ kind: "ballot", generation, step, ...ballot, sampleIds: Array.from(computing.ids) });
      while (this.#verdict === null && this.#isCurrent()) await this.#change.wait();
    }
    const verdict = this.#verdict as VerdictMessage | null;
    this.#verdict = null;
    this.#holdings.settle({ commit: verdict?.commit === true });
    if (verdict) return { commit: verdict.commit, checkpoint: verdict.checkpoint, reason: verdict.reason };
    return { commit: false, checkpoint: false, reason: this.#stop?.reason ?? "the generation is over" };
  }

  save(parts: readonly StatePart[]): void {
    const options = this.#toSave;
    const client = this.#client;
    if (!options || !client) return;
    this.#toSave = null;
    const upload = sendState(client, parts, options).then(
      () => this.#log.info({ step: options.step }, "sent its part of the checkpoint"),
      (error: Error) => this.#log.error({ step: options.step, err: error }, "its part of the checkpoint was not taken"),
    );
    this.#uploads.add(upload);
    void upload.then(() => this.#uploads.delete(upload));
  }

  phase(name: string): void {
    if (name === this.#phase) return;
    this.#phase = name;
    this.#phaseSinceMs = this.#now();
  }

  // ---- its life ----

  /** Asks to be released: others take over what it has, and the run goes on. At once where there is no coordinator to ask. */
  retire(reason: string): void {
    this.#retiring = reason;
    if (this.#session === null || this.#welcome === null) this.#stopWith({ kind: "stop", outcome: "asked", reason, code: "TERMINATED" });
    else this.#session.send({ kind: "leave", reason, failed: false, retire: true, code: "" });
  }

  /** Training broke here. */
  async fail(reason: string, code: string = "ENGINE"): Promise<void> {
    this.#stopWith({ kind: "stop", outcome: "failed", reason, code });
    await this.#session?.leave(GOODBYE_MS, { kind: "leave", reason, failed: true, retire: false, code });
  }

  /** Closes sockets and says goodbye; call when the training thread is done. */
  async close(): Promise<void> {
    this.#stopWith({ kind: "stop", outcome: "asked", reason: "the worker is closing", code: "" });
    await Promise.allSettled([...this.#uploads]);
    await this.#place?.close(new IsoergError("STOPPED", "the worker is closing"));
    this.#offers.close();
    await this.#session?.leave(GOODBYE_MS);
    await this.#peers?.close(0);
    this.#client?.close();
  }

  get stop(): StopTurn | null {
    return this.#stop;
  }

  // ---- the coordinator, lost and found ----

  async #connect(timeoutMs: number): Promise<void> {
    try {
      const { client, address } = await this.#options.dialer.reach(timeoutMs, this.#over.signal);
      this.#ring = this.#options.ring(address);
      this.#peers ??= await startPeerServer(this.#ring, this.#offers, this.#options.security);
      if (this.#stop) return client.close();
      this.#client = client;
      const { workerId, incarnation, engine, protocol } = this.#options.hello;
      const session: Session = new Session({
        client,
        hello: { workerId, incarnation, engine, protocol, peerEndpoint: this.#peerEndpoint(), ...this.#holdings.describe() },
        onMessage: (message) => this.#receive(message),
        onLost: (reason, { isRefusal }) => this.#lost(reason, isRefusal),
        doing: () => ({
          step: this.#computing?.step ?? this.#place?.message.step ?? 0,
          phase: this.#phase,
          phaseMs: this.#now() - this.#phaseSinceMs,
        }),
      });
      this.#session = session;
    } catch (error) {
      if (this.#stop) return;
      const code: ErrorCode = this.#welcome === null ? "NETWORK" : "UNREACHABLE";
      this.#stopWith({ kind: "stop", outcome: "failed", reason: (error as Error).message, code });
    }
  }

  #peerEndpoint(): string {
    const { address } = this.#peers as RunningServer;
    const port = address.slice(address.lastIndexOf(":") + 1);
    const host = this.#ring.advertisedHost ?? this.#ring.host ?? "127.0.0.1";
    return `${host.includes(":") ? `[${host}]` : host}:${port}`;
  }

  #lost(reason: string, isRefusal: boolean): void {
    const client = this.#client;
    this.#session = null;
    this.#client = null;
    if (this.#stop) return;
    const { reconnectMs } = this.#options;
    if (isRefusal) {
      this.#stopWith({ kind: "stop", outcome: "failed", reason, code: "PROTOCOL" });
    } else if (this.#retiring !== null || reconnectMs === 0) {
      const code = this.#retiring === null ? "UNREACHABLE" : "TERMINATED";
      this.#stopWith({ kind: "stop", outcome: "failed", reason, code });
    } else {
      this.#log.warn({ reason }, "the coordinator is away; looking for it");
      client?.close();
      void this.#connect(reconnectMs);
      this.#change.notify();
    }
  }

  // ---- what the coordinator says ----

  #receive(message: ToWorker): void {
    switch (message.kind) {
      case "welcome":
        this.#welcomed(message);
        break;
      case "generation":
        this.#begin(message);
        break;
      case "ringPeers":
        if (this.#place?.message.generation === message.generation) void this.#closeRing(this.#place, message.endpoints);
        break;
      case "proceed":
        if (this.#place?.message.generation !== message.generation) break;
        this.#place.proceed = message.step;
        this.#offers.drop();
        break;
      case "verdict":
        if (this.#computing?.generation !== message.generation || this.#computing.step !== message.step) break;
        this.#verdict = message;
        if (message.checkpoint && this.#place) {
          this.#toSave = { generation: message.generation, rank: this.#place.message.rank, step: message.step + 1 };
        }
        break;
      case "save":
        if (this.#place?.message.generation !== message.generation) break;
        this.#toSave = { generation: message.generation, rank: this.#place.message.rank, step: message.step };
        this.#saveTurn = true;
        break;
      case "release":
        void this.#closePlace(new IsoergError("STOPPED", "others take over"));
        this.#place = null;
        this.#pending = null;
        this.#releasing = { step: message.step, isOffered: false };
        this.#offers.begin(message.generation, message.step);
        break;
      case "stop":
        // A coordinator that was told to terminate will be back, or another one in its place.
        if (message.code === "TERMINATED" && this.#retiring === null && this.#options.reconnectMs > 0) {
          this.#session?.drop();
          this.#lost(`the coordinator was told to terminate: ${message.reason}`, false);
        } else this.#stopWith(message);
        break;
      default:
        message satisfies never;
    }
    this.#change.notify();
  }

  #welcomed(message: Welcome): void {
    if (message.term < this.#term) {
      this.#session?.drop();
      this.#lost(`coordinator ${message.term} of this run was replaced by coordinator ${this.#term}`, false);
      return;
    }
    if (this.#welcome && this.#welcome.runId !== message.runId) {
      const reason = `the coordinator leads another run, ${message.runId}`;
      this.#stopWith({ kind: "stop", outcome: "failed", reason, code: "PROTOCOL" });
      return;
    }
    this.#term = message.term;
    this.#welcome = message;
    this.#options.dialer.succeeded();
    const config = JSON.parse(message.configJson) as Partial<Pick<Config, "communication" | "model">>; // the coordinator's own, checked there
    this.#numChains = message.numChains;
    this.#groupSize = config.model ? groupSizeOf(config.model) : 1;
    this.#network = config.communication ?? {};
    if (this.#retiring !== null) this.retire(this.#retiring);
  }

  #begin(message: GenerationMessage): void {
    const { generation, rank, worldSize, step } = message;
    if (!this.#client) return;
    this.#log.info({ generation, rank, worldSize, step, restore: message.restore }, "generation");
    void this.#closePlace(new IsoergError("STOPPED", `generation ${generation} begins`));
    const runHash = crc32(Buffer.from(this.#welcome?.runId ?? ""));
    const onRefusal = (reason: string): void => this.#log.warn({ generation, reason }, "memory is not shared inside this host");
    const sums = { shared: this.#options.shared ?? null, network: this.#network, onRefusal };
    const place = new Place({ client: this.#client, message, runHash, numChains: this.#numChains, groupSize: this.#groupSize, sums });
    this.#place = place;
    this.#pending = place;
    this.#saveTurn = false;
    this.#offers.begin(generation, step);
    place.sums.bind(this.#ring).then(
      (endpoint) => this.#sendIn(place, { kind: "ringBound", generation, endpoint }),
      (error: Error) => this.#ringFailed(place, error),
    );
  }

  async #closeRing(place: Place, endpoints: readonly string[]): Promise<void> {
    try {
      await place.sums.connect(endpoints);
      if (place.sums.way) this.#log.info({ generation: place.message.generation, way: place.sums.way }, "sums agreed");
      place.isRingClosed = true;
      this.#sayReady(place);
    } catch (error) {
      this.#ringFailed(place, error as Error);
    }
  }

  #sayReady(place: Place): void {
    const { generation, step } = place.message;
    if (place.isRingClosed && place.isStateReady && place.healed)
      this.#sendIn(place, { kind: "ready", generation, step, ...place.healed.account });
  }

  #ringFailed(place: Place, error: Error): void {
    const { generation, step } = place.message;
    const nothing = { checksum: 0n, metrics: {}, phasesMs: {}, sampleIds: [] };
    this.#sendIn(place, { kind: "ballot", generation, step, ok: false, fault: "collective", reason: error.message, ...nothing });
  }

  /** Says something of a generation, unless that is over. */
  #sendIn(place: Place, message: FromWorker): void {
    if (this.#place === place && !this.#stop) this.#session?.send(message);
  }

  // ---- turns ----

  /** @returns null when another generation has begun meanwhile. */
  async #generationTurn(place: Place): Promise<Turn | null> {
    const { generation, rank, worldSize, step, restore, adjustment } = place.message;
    const coordinator = this.#client;
    if (place.healing === null && coordinator) {
      this.phase(restore === "checkpoint" ? "load" : "heal");
      const held = restore === "keep" ? this.#rows : { from: 0, to: 0 };
      const options = {
        coordinator,
        message: place.message,
        positions: place.chains,
        held,
        offers: this.#offers,
        security: this.#options.security,
      };
      place.healing = heal({ ...options, signal: place.signal, log: this.#log }).then(
        (healed) => ({ healed }),
        (error: Error) => ({ error }),
      );
    }
    const result = await Promise.race([place.healing ?? this.#change.wait(), this.#change.wait()]);
    if (!result || this.#pending !== place || this.#stop) return null;
    if ("error" in result) {
      this.#log.error({ generation, err: result.error }, "the state could not be had");
      // From a peer or coordinator that is gone: a new generation follows. Otherwise it is this worker's fault.
      if (result.error instanceof IsoergError && result.error.code === "NETWORK") await this.#change.wait();
      else await this.fail(`the state of step ${step} could not be had: ${result.error.message}`);
      return null;
    }
    this.#pending = null;
    place.healed = result.healed;
    if (restore !== "keep") this.#holdings.loseHold();
    this.#rows = place.chains;
    const { state, chains } = result.healed;
    return { kind: "generation", assignment: { generation, rank, worldSize, step, chains: place.chains, adjustment }, state, chains };
  }

  /** @returns null when the wait was broken off. */
  async #stepTurn(place: Place): Promise<Turn | null> {
    const since = this.#now();
    this.phase("wait");
    place.taking ??= place.prefetch.next().then(
      (taken) => ({ slice: taken }),
      (error: Error) => ({ error }),
    );
    const taken = await Promise.race([place.taking, this.#change.wait()]);
    if (!taken || this.#place !== place || this.#pending || this.#stop) return null;
    if ("error" in taken) {
      await this.#samplesFailed(place, taken.error);
      return null;
    }
    place.taking = null;
    const { slice: samples } = taken;
    if (samples.step !== place.proceed) {
      await this.fail(`samples of step ${samples.step} came for step ${place.proceed}`, "PROTOCOL");
      return null;
    }
    place.proceed = null;
    place.sums.beginStep(samples.step);
    this.#computing = { generation: place.message.generation, step: samples.step, ids: samples.ids };
    return { kind: "step", ...samples, dataWaitMs: this.#now() - since };
  }

  /** A stream that ended with its coordinator, or with its generation, is followed by another; anything else is a failure. */
  async #samplesFailed(place: Place, error: Error): Promise<void> {
    const { code } = error as Partial<ServiceError>;
    const what = `no samples came for step ${place.proceed}: ${error.message}`;
    if (code === status.DATA_LOSS) return this.fail(what, "DATA");
    if (error instanceof IsoergError && error.code === "PROTOCOL") return this.fail(what, "PROTOCOL");
    let timer: NodeJS.Timeout | undefined;
    const overdue = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(true), FOLLOWED_MS);
    });
    const isOverdue = await Promise.race([overdue, this.#change.wait().then(() => false)]);
    clearTimeout(timer);
    if (isOverdue && this.#session !== null && this.#place === place && !this.#pending && !this.#stop) await this.fail(what, "PROTOCOL");
  }

  // ---- ends ----

  /** Whether what the training thread computes still counts. */
  #isCurrent(): boolean {
    return !this.#stop && !this.#pending && this.#computing?.generation === this.#place?.message.generation;
  }

  #stopWith(stop: StopTurn): void {
    if (this.#stop) return;
    this.#stop = stop;
    this.#over.abort(new IsoergError("STOPPED", stop.reason));
    this.#sayStopped();
    this.#log.info({ outcome: stop.outcome, code: stop.code, reason: stop.reason }, "stop");
    void this.#closePlace(new IsoergError("STOPPED", stop.reason));
    this.#change.notify();
  }

  async #closePlace(reason: Error): Promise<void> {
    await this.#place?.close(reason);
  }
}
