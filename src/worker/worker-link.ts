/**
 * What a worker's training waits for, put together from what the coordinator says: turns, sums, verdicts. One object a worker
 * process; it lives on the link thread and never blocks.
 *
 * The coordinator's word is final. A new generation voids what was under way: pending sums end, a pending vote is answered
 * "not committed", and the first step that counts comes again. When the coordinator is lost, this worker keeps what it has,
 * its pending vote included, and finds the coordinator again, or another one that has the journal (`connection.ts`); the verdict
 * may then come from that one. Only a stop, or too long a search, ends every wait. So the training thread is never left asleep.
 */
import type { Client } from "@grpc/grpc-js";
import type { StatePart } from "../checkpoint/state-part.js";
import type { NativeStreams } from "../collective/native-streams.js";
import { groupSizeOf } from "../config/group-size.js";
import type { Config } from "../config/schema.js";
import type { Ballot, Turn } from "../train/link.js";
import { crc32 } from "../util/crc32.js";
import { IsoergError } from "../util/error.js";
import type { FromWorker, GenerationMessage, ToWorker, Welcome } from "../wire/messages.js";
import { Change } from "./change.js";
import { Connection, type ConnectionOptions } from "./connection.js";
import { Activity } from "./doing.js";
import { Holdings } from "./holdings.js";
import { Offers } from "./offers.js";
import { Place } from "./place.js";
import type { Pulse } from "./pulse.js";
import { WorkerSamples } from "./samples.js";
import { type SaveOptions, sendState } from "./state-transfer.js";
import type { SharedVectors } from "./sums.js";
import type { SumsResult } from "./thread-messages.js";
import { type StopTurn, Turns } from "./turns.js";

export interface WorkerLinkOptions extends ConnectionOptions {
  /** Where the training thread's vectors lie. Default: in memory of its own. */
  readonly shared?: SharedVectors | null;
  /** Of the training thread. Default: it shows nothing between its messages. */
  readonly pulse?: Pulse;
  /** Drives TCP between hosts; null for ZeroMQ alone. */
  readonly streams?: NativeStreams | null;
  readonly now?: () => number;
}

const GOODBYE_MS = 5_000;

export class WorkerLink {
  readonly #options: WorkerLinkOptions;
  readonly #now: () => number;
  readonly #change = new Change();
  readonly #holdings = new Holdings();
  readonly #offers = new Offers();
  readonly #uploads = new Set<Promise<void>>();
  readonly #over = new AbortController();
  readonly #activity: Activity;
  readonly #connection: Connection;
  readonly #turns: Turns;
  #numChains = 0;
  #groupSize = 1;
  #network: Partial<Config["communication"]> = {};
  /** undefined before the first welcome. */
  #samples: WorkerSamples | undefined;
  #toSave: SaveOptions | null = null;
  #retiring: string | null = null;
  #stop: StopTurn | null = null;
  #sayStopped: () => void = () => {};
  /** Resolves when the run is over for this worker, whatever ended it. */
  readonly stopped: Promise<void> = new Promise((resolve) => {
    this.#sayStopped = resolve;
  });

  constructor(options: WorkerLinkOptions) {
    this.#options = options;
    this.#activity = new Activity(options.pulse);
    this.#now = options.now ?? (() => performance.now());
    this.#turns = new Turns({
      change: this.#change,
      holdings: this.#holdings,
      offers: this.#offers,
      security: options.security,
      log: options.log,
      now: this.#now,
      client: () => this.#connection.client,
      stop: () => this.#stop,
      phase: (name) => this.#activity.phase(name),
      fail: (reason, code) => this.fail(reason, code),
    });
    this.#connection = new Connection(options, {
      offers: this.#offers,
      holds: () => this.#holdings.describe(),
      doing: (everyMs) => ({
        step: this.#turns.computing?.step ?? this.#turns.place?.message.step ?? 0,
        ...this.#activity.describe(everyMs),
      }),
      isOver: () => this.#stop !== null,
      isRetiring: () => this.#retiring !== null,
      onMessage: (message) => this.#receive(message),
      onAway: () => this.#change.notify(),
      onEnd: (stop) => this.#stopWith(stop),
      signal: this.#over.signal,
    });
  }

  // ---- what the training thread asks ----

  /** Resolves when a coordinator has taken this worker in; null when none ever will. */
  welcome(): Promise<{ readonly welcome: Welcome; readonly client: Client } | null> {
    return this.#activity.waitsFor(this.#welcomed());
  }

  async #welcomed(): Promise<{ readonly welcome: Welcome; readonly client: Client } | null> {
    for (;;) {
      const { welcome, client } = this.#connection;
      if (this.#stop) return null;
      if (welcome && client) return { welcome, client };
      await this.#change.wait();
    }
  }

  next(): Promise<readonly Turn[]> {
    return this.#activity.waitsFor(this.#turns.next());
  }

  /** The present generation's part in the host's shared memory, for the training thread. */
  get member(): number | null {
    return this.#turns.place?.sums.member ?? null;
  }

  ready(generation: number): void {
    const { place } = this.#turns;
    if (place?.message.generation !== generation) return;
    this.#holdings.hold(generation, place.message.step);
    place.isStateReady = true;
    this.#sayReady(place);
  }

  offer(parts: readonly StatePart[]): void {
    const step = this.#turns.offeredStep;
    if (step !== undefined) this.#offers.add(step, parts);
  }

  startSum(values: Float32Array): void {
    this.#activity.heard();
    if (this.#turns.isCurrent) this.#turns.place?.sums.start(values);
  }

  async finishSums(): Promise<SumsResult> {
    const { place } = this.#turns;
    if (!place || !this.#turns.isCurrent) return { done: false, reason: "the generation is over" };
    const result = await this.#activity.waitsFor(place.sums.finish());
    return this.#turns.isCurrent ? result : { done: false, reason: "the generation is over" };
  }

  /** The verdict is a turn. It is waited for over a lost session too: only a generation, a verdict or a stop ends that. */
  vote(ballot: Ballot): void {
    this.#activity.heard();
    const computed = this.#turns.vote();
    if (!computed) return;
    const { generation, step, ids } = computed;
    if (ballot.ok) this.#holdings.vote({ generation, step, checksum: ballot.checksum });
    // Figures are the same on every worker: one tells them.
    const metrics = this.#turns.place?.message.rank === 0 ? ballot.metrics : {};
    this.#connection.send({ kind: "ballot", generation, step, ...ballot, metrics, sampleIds: Array.from(ids) });
  }

  save(parts: readonly StatePart[]): void {
    const options = this.#toSave;
    const { client } = this.#connection;
    if (!options || !client) return;
    this.#toSave = null;
    const { log } = this.#options;
    const upload = sendState(client, parts, options).then(
      () => log.info({ step: options.step }, "sent its part of the checkpoint"),
      (error: Error) => log.error({ step: options.step, err: error }, "its part of the checkpoint was not taken"),
    );
    this.#uploads.add(upload);
    void upload.then(() => this.#uploads.delete(upload));
  }

  // ---- its life ----

  /** Asks to be released: others take over what it has, and the run goes on. At once where there is no coordinator to ask. */
  retire(reason: string): void {
    this.#retiring = reason;
    if (!this.#connection.isOpen || this.#connection.welcome === null)
      this.#stopWith({ kind: "stop", outcome: "asked", reason, code: "TERMINATED" });
    else this.#connection.send({ kind: "leave", reason, failed: false, retire: true, code: "" });
  }

  /** Training broke here. */
  async fail(reason: string, code: string = "ENGINE"): Promise<void> {
    this.#stopWith({ kind: "stop", outcome: "failed", reason, code });
    await this.#connection.leave(GOODBYE_MS, { kind: "leave", reason, failed: true, retire: false, code });
  }

  /** Closes sockets and says goodbye; call when the training thread is done. */
  async close(): Promise<void> {
    this.#stopWith({ kind: "stop", outcome: "asked", reason: "the worker is closing", code: "" });
    await Promise.allSettled([...this.#uploads]);
    await this.#closePlace(new IsoergError("STOPPED", "the worker is closing"));
    this.#offers.close();
    await this.#connection.leave(GOODBYE_MS);
    await this.#samples?.close();
    await this.#connection.close();
  }

  get stop(): StopTurn | null {
    return this.#stop;
  }

  // ---- what the coordinator says ----

  #receive(message: ToWorker): void {
    const { place } = this.#turns;
    switch (message.kind) {
      case "welcome":
        if (this.#connection.welcomed(message)) this.#brief(message);
        break;
      case "generation":
        this.#begin(message);
        break;
      case "ringPeers":
        if (place?.message.generation === message.generation) void this.#closeRing(place, message.endpoints);
        break;
      case "proceed":
        this.#proceed(message.generation, message.step);
        break;
      case "verdict":
        if (this.#turns.decided(message) && message.checkpoint && place) {
          this.#toSave = { generation: message.generation, rank: place.message.rank, step: message.step + 1 };
        }
        if (message.proceed) this.#proceed(message.generation, message.step + 1);
        break;
      case "save":
        if (place?.message.generation !== message.generation) break;
        this.#toSave = { generation: message.generation, rank: place.message.rank, step: message.step };
        this.#turns.save();
        break;
      case "release":
        void this.#closePlace(new IsoergError("STOPPED", "others take over"));
        this.#turns.release(message.step);
        this.#offers.begin(message.generation, message.step);
        break;
      case "stop":
        // A coordinator that was told to terminate will be back, or another one in its place.
        if (message.code === "TERMINATED" && this.#retiring === null && this.#options.reconnectMs > 0) {
          this.#connection.abandon(`the coordinator was told to terminate: ${message.reason}`);
        } else this.#stopWith(message);
        break;
      default:
        message satisfies never;
    }
    this.#change.notify();
  }

  /** What the run is about, as far as this thread needs it. */
  #brief(message: Welcome): void {
    const config = JSON.parse(message.configJson) as Partial<Pick<Config, "communication" | "model">>; // the coordinator's own, checked there
    this.#numChains = message.numChains;
    this.#groupSize = config.model ? groupSizeOf(config.model) : 1;
    this.#network = config.communication ?? {};
    this.#samples ??= new WorkerSamples(message, this.#options.log);
    if (this.#retiring !== null) this.retire(this.#retiring);
  }

  #begin(message: GenerationMessage): void {
    const { log, shared = null, streams = null } = this.#options;
    const { client, welcome, ring } = this.#connection;
    const { generation, rank, worldSize, step } = message;
    const samples = this.#samples;
    if (!client || !samples) return;
    log.info({ generation, rank, worldSize, step, restore: message.restore }, "generation");
    void this.#closePlace(new IsoergError("STOPPED", `generation ${generation} begins`));
    const runHash = crc32(Buffer.from(welcome?.runId ?? ""));
    const onRefusal = (reason: string): void => log.warn({ generation, reason }, "sums take a slower way");
    const sums = { shared, streams, network: this.#network, onRefusal };
    const groupSize = this.#groupSize;
    const slices = samples.slicesOf(message, client, groupSize);
    const place = new Place({ message, slices, runHash, numChains: this.#numChains, groupSize, sums });
    this.#turns.begin(place);
    this.#offers.begin(generation, step);
    place.sums.bind(ring).then(
      (endpoint) => this.#sendIn(place, { kind: "ringBound", generation, endpoint }),
      (error: Error) => this.#ringFailed(place, error),
    );
  }

  #proceed(generation: number, step: number): void {
    const { place } = this.#turns;
    if (place?.message.generation !== generation) return;
    place.proceed = step;
    this.#offers.drop();
  }

  async #closeRing(place: Place, endpoints: readonly string[]): Promise<void> {
    try {
      await place.sums.connect(endpoints);
      const { way, carriedBy } = place.sums;
      if (way) this.#options.log.info({ generation: place.message.generation, way, by: carriedBy }, "sums agreed");
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
    if (this.#turns.place === place && !this.#stop) this.#connection.send(message);
  }

  // ---- ends ----

  #stopWith(stop: StopTurn): void {
    if (this.#stop) return;
    this.#stop = stop;
    this.#over.abort(new IsoergError("STOPPED", stop.reason));
    this.#sayStopped();
    this.#options.log.info({ outcome: stop.outcome, code: stop.code, reason: stop.reason }, "stop");
    void this.#closePlace(new IsoergError("STOPPED", stop.reason));
    this.#change.notify();
  }

  async #closePlace(reason: Error): Promise<void> {
    await this.#turns.place?.close(reason);
  }
}
