/**
 * Workers of a run without sockets, threads or tensors: each answers the coordinator as the protocol says, and its "parameters"
 * are a checksum over all samples that it was trained on, so that a step applied twice, left out or on other samples shows.
 * Messages wait in a queue for each worker until the test lets one through; so a test decides every interleaving.
 */
import type { HostTensor } from "../../src/checkpoint/safetensors.js";
import type { LoadedCheckpoint } from "../../src/checkpoint/store.js";
import type { Adjustment } from "../../src/config/adjustment.js";
import type { WorkerPort } from "../../src/coordinator/roster.js";
import type { Run } from "../../src/coordinator/run.js";
import type { Plan } from "../../src/data/plan.js";
import { slice } from "../../src/data/plan.js";
import type { Committed, FromWorker, GenerationMessage, StateBlock, ToWorker } from "../../src/wire/messages.js";
import { PROTOCOL_VERSION } from "../../src/wire/proto.js";

/** One more step on these samples. */
export function trained(parameters: bigint, ids: Uint32Array): bigint {
  let next = parameters;
  for (const id of ids) next = BigInt.asUintN(64, (next ^ BigInt(id + 1)) * 1_099_511_628_211n);
  return next;
}

export const UNTRAINED = 14_695_981_039_346_656_037n;

/** Parameters as a tensor of a checkpoint: two words, the low one first. */
export function toWords(parameters: bigint): Int32Array {
  return Int32Array.of(Number(BigInt.asIntN(32, parameters)), Number(BigInt.asIntN(32, parameters >> 32n)));
}

export function fromWords(tensor: HostTensor | undefined): bigint {
  const [low = 0, high = 0] = (tensor?.data ?? []) as Int32Array;
  return (BigInt.asUintN(32, BigInt(high)) << 32n) | BigInt.asUintN(32, BigInt(low));
}

export interface SwarmOptions {
  readonly run: Run;
  readonly plan: Plan;
  readonly load: (step: number) => Promise<LoadedCheckpoint>;
  /** All of them, this one included: who heals takes the state from another. */
  readonly swarm: SwarmWorker[];
}

const NO_CHAINS = { chainsKept: 0, chainsMoved: 0, chainsRestored: 0, chainsAnew: 0 };

export class SwarmWorker {
  readonly workerId: string;
  readonly incarnation: string;
  readonly inbox: ToWorker[] = [];
  isAlive = true;
  parameters = UNTRAINED;
  /** What it says of a step, given how often the guard had drawn anew. */
  metrics: (step: number, salt: number) => Record<string, number> = (step) => ({ loss: step });
  /** Of each generation. */
  readonly adjustments: Adjustment[] = [];
  /** The state of this step is in `parameters`, as of this generation. */
  held: { generation: number; step: number } | null = null;
  /** Voted, and no verdict yet. */
  pending: Committed | null = null;
  readonly commits: Committed[] = [];
  /** Next ballot says this instead of the truth. */
  fault: "collective" | "non-finite" | "checksum" | "engine" | null = null;
  /** Whether it breaks at a step, on these samples. */
  breaks: (step: number, ids: Uint32Array) => boolean = () => false;
  stop: Extract<ToWorker, { kind: "stop" }> | null = null;
  #generation: GenerationMessage | null = null;
  #options: SwarmOptions;
  #port: WorkerPort | null = null;

  constructor(workerId: string, incarnation: string, options: SwarmOptions) {
    this.workerId = workerId;
    this.incarnation = incarnation;
    this.#options = options;
    options.swarm.push(this);
    this.connect(options.run);
  }

  /** Opens a session, the first one or another after the last was lost; what it has is said. */
  connect(run: Run): void {
    this.#options = { ...this.#options, run };
    this.inbox.length = 0;
    const { workerId, incarnation, held, pending } = this;
    const port: WorkerPort = {
      send: (message) => {
        if (this.#port === port) this.inbox.push(message);
      },
      close: () => {
        if (this.#port === port) this.#port = null;
      },
    };
    this.#port = port;
    run.join(
      {
        workerId,
        incarnation,
        engine: "none",
        protocol: PROTOCOL_VERSION,
        peerEndpoint: `memory://${incarnation}`,
        holdsGeneration: held?.generation ?? 0,
        holdsStep: held?.step ?? 0,
        pendingGeneration: pending?.generation ?? 0,
        pendingStep: pending?.step ?? 0,
        commits: this.commits,
      },
      port,
    );
  }

  /** Its connection is cut: the coordinator hears of it, the worker goes on and may connect again. */
  disconnect(): void {
    const port = this.#port;
    this.#port = null;
    this.inbox.length = 0;
    if (port) this.#options.run.disconnected(this.incarnation, port, "its connection was cut");
  }

  /** Its process dies: nothing more is said or heard. */
  kill(): void {
    this.isAlive = false;
    this.disconnect();
  }

  get isConnected(): boolean {
    return this.isAlive && this.#port !== null;
  }

  retire(): void {
    this.#say({ kind: "leave", reason: "told to", failed: false, retire: true, code: "" });
  }

  /** The next message asks for its part of a checkpoint. */
  get isAboutToSave(): boolean {
    const [message] = this.inbox;
    return message?.kind === "save" || (message?.kind === "verdict" && message.checkpoint);
  }

  /** Takes one message in and does what it asks. */
  async step(): Promise<void> {
    const message = this.inbox.shift();
    if (!message || !this.isAlive) return;
    const { plan, load } = this.#options;
    const mine = this.#generation;
    switch (message.kind) {
      case "generation":
        this.#generation = message;
        this.pending = null;
        this.adjustments.push(message.adjustment);
        if (message.restore === "fresh") this.parameters = UNTRAINED;
        if (message.restore === "heal") {
          const donor = this.#options.swarm.find(({ incarnation, isAlive }) => isAlive && message.donor === `memory://${incarnation}`);
          if (donor?.held?.step !== message.step) break; // it is gone: another generation follows
          this.parameters = donor.parameters;
        }
        if (message.restore === "keep" && this.held?.step !== message.step)
          throw new Error(`${this.workerId} keeps ${this.held?.step} at step ${message.step}`);
        if (message.restore === "checkpoint") {
          const { files } = await load(message.checkpointStep);
          this.parameters = fromWords(files.model.get("parameters"));
        }
        this.held = { generation: message.generation, step: message.step };
        this.#say({ kind: "ringBound", generation: message.generation, endpoint: `memory://${this.incarnation}` });
        break;
      case "ringPeers":
        if (message.generation === mine?.generation)
          this.#say({ kind: "ready", generation: message.generation, step: mine.step, ...NO_CHAINS });
        break;
      case "proceed":
        this.#compute(message.generation, message.step);
        break;
      case "verdict":
        if (this.pending?.generation !== message.generation || this.pending.step !== message.step) break;
        if (message.commit) {
          this.parameters = trained(this.parameters, plan.batchOf(message.step).ids);
          this.commits.push(this.pending);
          this.held = { generation: message.generation, step: message.step + 1 };
        }
        this.pending = null;
        if (message.commit && message.checkpoint && mine) this.#save(mine, message.step + 1);
        if (message.proceed) this.inbox.unshift({ kind: "proceed", generation: message.generation, step: message.step + 1 });
        break;
      case "save":
        if (message.generation === mine?.generation) this.#save(mine, message.step);
        break;
      case "release":
        this.#generation = null;
        break;
      case "stop":
        this.stop = message;
        this.isAlive = false;
        break;
      case "welcome":
        break;
      default:
        message satisfies never;
    }
  }

  #compute(of: number, step: number): void {
    const mine = this.#generation;
    if (mine?.generation !== of) return;
    const { plan } = this.#options;
    const { ids } = plan.batchOf(step);
    const { from, to } = slice(ids.length, mine.rank, mine.sliceWeights);
    const own = ids.subarray(from, to);
    if (this.breaks(step, own)) this.fault = "engine";
    const broken = this.fault === "checksum" ? null : this.fault;
    const { generation } = mine;
    if (broken === null) this.pending = { generation, step: step, checksum: this.parameters };
    this.#say({
      kind: "ballot",
      generation: mine.generation,
      step,
      ok: broken === null,
      fault: broken ?? "none",
      reason: broken === null ? "" : "asked for by the test",
      checksum: this.fault === "checksum" ? this.parameters + 1n : this.parameters,
      metrics: broken === null ? this.metrics(step, mine.adjustment.salt) : {},
      phasesMs: { gradient: 1 },
      sampleIds: [...own],
    });
    this.fault = null;
  }

  #save({ generation, rank, worldSize, sliceWeights }: GenerationMessage, step: number): void {
    const { run } = this.#options;
    const head = { generation, rank, step };
    const { from, to } = slice(worldSize * 3, rank, sliceWeights);
    const chains: StateBlock = {
      ...head,
      file: "buffer",
      tensor: "chains",
      dtype: "U8",
      shape: [worldSize * 3, 1],
      offset: from,
      data: new Uint8Array(to - from).fill(rank),
    };
    run.saveState(chains);
    if (rank === 0) {
      run.saveState({
        ...head,
        file: "model",
        tensor: "parameters",
        dtype: "I32",
        shape: [2],
        offset: 0,
        data: new Uint8Array(toWords(this.parameters).buffer),
      });
    }
    run.saveStateComplete(chains);
  }

  #say(message: FromWorker): void {
    if (this.isConnected) this.#options.run.receive(this.incarnation, message);
  }
}
