/**
 * What a worker's training waits for, put together from what the coordinator says: turns, sums, verdicts. One object a worker
 * process; it lives on the link thread and never blocks.
 *
 * The coordinator's word is final. A new generation voids what was under way: pending sums end, a pending vote is answered
 * "not committed", and the first step that counts comes again. When the coordinator is lost or says stop, every wait ends
 * with a stop. So the training thread is never left asleep.
 */
import { type Client, type ServiceError, status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import type { StatePart } from "../checkpoint/state-part.js";
import { slice } from "../data/plan.js";
import type { Ballot, Turn, Verdict } from "../train/link.js";
import { crc32 } from "../util/crc32.js";
import { IsoergError } from "../util/error.js";
import type { Range } from "../util/range.js";
import { callServerStream } from "../wire/client.js";
import type { FromWorker, GenerationMessage, Hello, ToWorker, VerdictMessage, Welcome } from "../wire/messages.js";
import { coordination } from "../wire/proto.js";
import { Change } from "./change.js";
import type { SumsResult } from "./messages.js";
import { Prefetch, type StepSlice } from "./prefetch.js";
import { Session } from "./session.js";
import { receiveState, sendState } from "./state-transfer.js";
import { type RingAddress, type SharedVectors, Sums } from "./sums.js";

export type StopTurn = Extract<Turn, { kind: "stop" }>;

export interface WorkerLinkOptions {
  readonly client: Client;
  readonly hello: Hello;
  /** Where this worker's ring sockets listen. */
  readonly ring: RingAddress;
  /** Where the training thread's vectors lie; null for memory of its own. */
  readonly shared?: SharedVectors | null;
  readonly log: Logger;
}

/** A period of unchanged membership, from this worker's place in it. */
interface Place {
  readonly message: GenerationMessage;
  readonly chains: Range;
  readonly sums: Sums;
  readonly prefetch: Prefetch;
  isRingClosed: boolean;
  isStateReady: boolean;
  /** The step to compute, until it is handed out. */
  proceed: number | null;
  taking: Promise<{ slice: StepSlice } | { error: Error }> | null;
}

const GOODBYE_MS = 5_000;

export class WorkerLink {
  readonly #client: Client;
  readonly #ring: RingAddress;
  readonly #shared: SharedVectors | null;
  readonly #log: Logger;
  readonly #session: Session;
  readonly #change = new Change();
  readonly #uploads = new Set<Promise<void>>();
  #welcome: Welcome | null = null;
  #numChains = 0;
  #place: Place | null = null;
  /** A generation that the training thread has not been told of. */
  #pending: Place | null = null;
  #computing: { readonly generation: number; readonly step: number; readonly ids: Uint32Array } | null = null;
  #verdict: VerdictMessage | null = null;
  #toSave: { readonly generation: number; readonly rank: number; readonly step: number } | null = null;
  #stop: StopTurn | null = null;
  #phase = "starting";
  #sayStopped: () => void = () => {};
  /** Resolves when the run is over for this worker, whatever ended it. */
  readonly stopped: Promise<void> = new Promise((resolve) => {
    this.#sayStopped = resolve;
  });

  constructor({ client, hello, ring, shared = null, log }: WorkerLinkOptions) {
    this.#client = client;
    this.#ring = ring;
    this.#shared = shared;
    this.#log = log;
    this.#session = new Session({
      client,
      hello,
      onMessage: (message) => this.#receive(message),
      onLost: (reason) => this.#stopWith({ kind: "stop", outcome: "failed", reason }),
      doing: () => ({ step: this.#computing?.step ?? this.#place?.message.step ?? 0, phase: this.#phase }),
    });
  }

  // ---- what the training thread asks ----

  /** Resolves when the coordinator has taken this worker in; null when it never will. */
  async welcome(): Promise<Welcome | null> {
    while (this.#welcome === null && this.#stop === null) await this.#change.wait();
    return this.#stop ? null : this.#welcome;
  }

  async next(): Promise<Turn> {
    this.#computing = null;
    for (;;) {
      if (this.#stop) return this.#stop;
      if (this.#pending) {
        const turn = await this.#generationTurn(this.#pending);
        if (turn) return turn;
      } else if (this.#place && this.#place.proceed !== null) {
        const turn = await this.#stepTurn(this.#place);
        if (turn) return turn;
      } else {
        this.#phase = "idle";
        await this.#change.wait();
      }
    }
  }

  /** The present generation's part in the host's shared memory, for the training thread. */
  get member(): number | null {
    return this.#place?.sums.member ?? null;
  }

  ready(generation: number): void {
    if (this.#place?.message.generation !== generation) return;
    this.#place.isStateReady = true;
    this.#sayReady(this.#place);
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

  async vote(ballot: Ballot): Promise<Verdict> {
    const computing = this.#computing;
    if (computing && this.#isCurrent()) {
      this.#verdict = null;
      const { generation, step } = computing;
      this.#session.send({ kind: "ballot", generation, step, ...ballot, sampleIds: Array.from(computing.ids) });
      while (this.#verdict === null && this.#isCurrent()) await this.#change.wait();
    }
    const verdict = this.#verdict as VerdictMessage | null;
    this.#verdict = null;
    if (verdict) return { commit: verdict.commit, checkpoint: verdict.checkpoint, reason: verdict.reason };
    return { commit: false, checkpoint: false, reason: this.#stop?.reason ?? "the generation is over" };
  }

  save(parts: readonly StatePart[]): void {
    const options = this.#toSave;
    if (!options) return;
    this.#toSave = null;
    const upload = sendState(this.#client, parts, options).then(
      () => this.#log.info({ step: options.step }, "sent its part of the checkpoint"),
      (error: Error) => this.#log.error({ step: options.step, err: error }, "its part of the checkpoint was not taken"),
    );
    this.#uploads.add(upload);
    void upload.then(() => this.#uploads.delete(upload));
  }

  phase(name: string): void {
    this.#phase = name;
  }

  // ---- its life ----

  /** Asks the coordinator to save and to end the run. */
  wishToStop(reason: string): void {
    this.#session.send({ kind: "leave", reason, failed: false, wish: true });
  }

  /** Training broke here, and would elsewhere. */
  async fail(reason: string): Promise<void> {
    await this.#leave(reason, { failed: true });
  }

  async #leave(reason: string, { failed }: { failed: boolean }): Promise<void> {
    this.#stopWith({ kind: "stop", outcome: "failed", reason });
    await this.#session.leave(GOODBYE_MS, { kind: "leave", reason, failed, wish: false });
  }

  /** Closes sockets and says goodbye; call when the training thread is done. */
  async close(): Promise<void> {
    this.#stopWith({ kind: "stop", outcome: "asked", reason: "the worker is closing" });
    await Promise.allSettled([...this.#uploads]);
    await this.#closePlace(new IsoergError("STOPPED", "the worker is closing"));
    await this.#session.leave(GOODBYE_MS);
  }

  get stop(): StopTurn | null {
    return this.#stop;
  }

  // ---- what the coordinator says ----

  #receive(message: ToWorker): void {
    switch (message.kind) {
      case "welcome":
        this.#welcome = message;
        this.#numChains = (JSON.parse(message.configJson) as { sampler: { chains: number } }).sampler.chains;
        break;
      case "generation":
        this.#begin(message);
        break;
      case "ringPeers":
        if (this.#place?.message.generation === message.generation) void this.#closeRing(this.#place, message.endpoints);
        break;
      case "proceed":
        if (this.#place?.message.generation === message.generation) this.#place.proceed = message.step;
        break;
      case "verdict":
        if (this.#computing?.generation !== message.generation || this.#computing.step !== message.step) break;
        this.#verdict = message;
        if (message.checkpoint && this.#place) {
          this.#toSave = { generation: message.generation, rank: this.#place.message.rank, step: message.step + 1 };
        }
        break;
      case "stop":
        this.#stopWith({ kind: "stop", outcome: message.outcome, reason: message.reason });
        break;
      default:
        message satisfies never;
    }
    this.#change.notify();
  }

  #begin(message: GenerationMessage): void {
    const { generation, rank, worldSize, sliceWeights, step } = message;
    this.#log.info({ generation, rank, worldSize, step, restore: message.restore }, "generation");
    void this.#closePlace(new IsoergError("STOPPED", `generation ${generation} begins`));
    const run = crc32(Buffer.from(this.#welcome?.runId ?? ""));
    const place: Place = {
      message,
      chains: slice(this.#numChains, rank, sliceWeights),
      sums: new Sums(
        { run, generation, rank, worldSize },
        { shared: this.#shared, onRefusal: (reason) => this.#log.warn({ generation, reason }, "memory is not shared inside this host") },
      ),
      prefetch: new Prefetch(callServerStream(this.#client, coordination.samples, { generation, rank, fromStep: step })),
      isRingClosed: false,
      isStateReady: false,
      proceed: null,
      taking: null,
    };
    this.#place = place;
    this.#pending = place;
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
    if (place.isRingClosed && place.isStateReady) this.#sendIn(place, { kind: "ready", generation, step });
  }

  #ringFailed(place: Place, error: Error): void {
    const { generation, step } = place.message;
    const nothing = { checksum: 0n, metrics: {}, phasesMs: {}, sampleIds: [] };
    this.#sendIn(place, { kind: "ballot", generation, step, ok: false, fault: "collective", reason: error.message, ...nothing });
  }

  /** Says something of a generation, unless that is over. */
  #sendIn(place: Place, message: FromWorker): void {
    if (this.#place === place && !this.#stop) this.#session.send(message);
  }

  // ---- turns ----

  /** @returns null when another generation has begun meanwhile. */
  async #generationTurn(place: Place): Promise<Turn | null> {
    const { generation, rank, worldSize, step, restore, checkpointStep, adjustment } = place.message;
    let state: Extract<Turn, { kind: "generation" }>["state"];
    if (restore === "checkpoint") {
      this.#phase = "load";
      try {
        state = await receiveState(this.#client, checkpointStep, place.chains);
      } catch (error) {
        if (this.#pending === place && !this.#stop)
          await this.fail(`the checkpoint of step ${checkpointStep} could not be loaded: ${(error as Error).message}`);
        return null;
      }
    } else {
      state = restore;
    }
    if (this.#pending !== place || this.#stop) return null;
    this.#pending = null;
    return { kind: "generation", assignment: { generation, rank, worldSize, step, chains: place.chains, adjustment }, state };
  }

  /** @returns null when the wait was broken off. */
  async #stepTurn(place: Place): Promise<Turn | null> {
    const since = performance.now();
    this.#phase = "wait";
    place.taking ??= place.prefetch.next().then(
      (taken) => ({ slice: taken }),
      (error: Error) => ({ error }),
    );
    const taken = await Promise.race([place.taking, this.#change.wait()]);
    if (!taken || this.#place !== place || this.#pending || this.#stop) return null;
    place.taking = null;
    if ("error" in taken) {
      const { code } = taken.error as Partial<ServiceError>;
      if (code === status.ABORTED) await this.#change.wait();
      else await this.#leave(`no samples came for step ${place.proceed}: ${taken.error.message}`, { failed: code !== status.UNAVAILABLE });
      return null;
    }
    const { slice: samples } = taken;
    if (samples.step !== place.proceed) {
      await this.fail(`samples of step ${samples.step} came for step ${place.proceed}`);
      return null;
    }
    place.proceed = null;
    place.sums.beginStep(samples.step);
    this.#computing = { generation: place.message.generation, step: samples.step, ids: samples.ids };
    return { kind: "step", ...samples, dataWaitMs: performance.now() - since };
  }

  // ---- ends ----

  /** Whether what the training thread computes still counts. */
  #isCurrent(): boolean {
    return !this.#stop && !this.#pending && this.#computing?.generation === this.#place?.message.generation;
  }

  #stopWith(stop: StopTurn): void {
    if (this.#stop) return;
    this.#stop = stop;
    this.#sayStopped();
    this.#log.info({ outcome: stop.outcome, reason: stop.reason }, "stop");
    void this.#closePlace(new IsoergError("STOPPED", stop.reason));
    this.#change.notify();
  }

  async #closePlace(reason: Error): Promise<void> {
    const place = this.#place;
    if (!place) return;
    place.prefetch.close();
    await place.sums.close(reason);
  }
}
