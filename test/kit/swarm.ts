/**
 * Workers of a run without sockets, threads or tensors: each answers the coordinator as the protocol says, and its "parameters"
 * are a checksum over all samples that it was trained on, so that a step applied twice, left out or on other samples shows.
 * Messages wait in a queue for each worker until the test lets one through; so a test decides every interleaving.
 */
import type { HostTensor } from "../../src/checkpoint/safetensors.js";
import type { LoadedCheckpoint } from "../../src/checkpoint/store.js";
import type { Adjustment } from "../../src/config/adjustment.js";
import type { Run } from "../../src/coordinator/run.js";
import type { Plan } from "../../src/data/plan.js";
import { slice } from "../../src/data/plan.js";
import type { FromWorker, GenerationMessage, StateBlock, ToWorker } from "../../src/wire/messages.js";

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
}

export class SwarmWorker {
  readonly workerId: string;
  readonly incarnation: string;
  readonly inbox: ToWorker[] = [];
  isAlive = true;
  parameters = UNTRAINED;
  /** Next ballot says this instead of the truth. */
  fault: "collective" | "non-finite" | "checksum" | null = null;
  /** What it says of a step, given how often the guard had drawn anew. */
  metrics: (step: number, salt: number) => Record<string, number> = (step) => ({ loss: step });
  /** Of each generation. */
  readonly adjustments: Adjustment[] = [];
  stop: Extract<ToWorker, { kind: "stop" }> | null = null;
  #generation: GenerationMessage | null = null;
  readonly #options: SwarmOptions;

  constructor(workerId: string, incarnation: string, options: SwarmOptions) {
    this.workerId = workerId;
    this.incarnation = incarnation;
    this.#options = options;
    options.run.join(
      { workerId, incarnation, engine: "none", protocol: 1 },
      { send: (message) => this.inbox.push(message), close: () => this.#end() },
    );
  }

  /** Its process dies: nothing more is said or heard. */
  kill(): void {
    this.#end();
    this.#options.run.disconnected(this.incarnation, "killed");
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
        this.adjustments.push(message.adjustment);
        if (message.restore === "fresh") this.parameters = UNTRAINED;
        if (message.restore === "checkpoint") {
          const { files } = await load(message.checkpointStep);
          this.parameters = fromWords(files.model.get("parameters"));
        }
        this.#say({ kind: "ringBound", generation: message.generation, endpoint: `memory://${this.incarnation}` });
        break;
      case "ringPeers":
        if (message.generation === mine?.generation) this.#say({ kind: "ready", generation: message.generation, step: mine.step });
        break;
      case "proceed": {
        if (message.generation !== mine?.generation) break;
        const { ids } = plan.batchOf(message.step);
        const { from, to } = slice(ids.length, mine.rank, mine.sliceWeights);
        const broken = this.fault === "collective" || this.fault === "non-finite" ? this.fault : null;
        this.#say({
          kind: "ballot",
          generation: mine.generation,
          step: message.step,
          ok: broken === null,
          fault: broken ?? "none",
          reason: broken === null ? "" : "asked for by the test",
          checksum: this.fault === "checksum" ? this.parameters + 1n : this.parameters,
          metrics: broken === null ? this.metrics(message.step, mine.adjustment.salt) : {},
          phasesMs: { gradient: 1 },
          sampleIds: [...ids.subarray(from, to)],
        });
        this.fault = null;
        break;
      }
      case "verdict":
        if (message.generation !== mine?.generation || !message.commit) break;
        this.parameters = trained(this.parameters, plan.batchOf(message.step).ids);
        if (message.checkpoint) this.#save(mine, message.step + 1);
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
    if (this.isAlive) this.#options.run.receive(this.incarnation, message);
  }

  #end(): void {
    this.isAlive = false;
    this.inbox.length = 0;
  }
}
