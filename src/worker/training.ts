/**
 * The training thread as the link thread holds it: started, served, ended. Every request of it is answered by the
 * WorkerLink; if it dies without a word, that is told once, as its failure.
 */
import { Worker } from "node:worker_threads";
import { adoptSummable, type SummableMemory } from "../collective/reduce.js";
import type { EngineOptions } from "../engine/engine.js";
import { invariant } from "../util/error.js";
import { AsyncEnd, createChannel } from "./channel.js";
import { Pulse } from "./pulse.js";
import type { TrainingThreadData } from "./serve-training.js";
import type { SharedVectors } from "./sums.js";
import { trainingThreadLimits } from "./thread-limits.js";
import type { ArenaRange, Briefing, FromLink, ToLink } from "./thread-messages.js";
import type { WorkerLink } from "./worker-link.js";

export interface TrainingOptions {
  readonly engine: EngineOptions;
  /** Where its vectors lie, and the library that gives such memory. Default: in memory of its own. */
  readonly shared?: (SharedVectors & { readonly path: string }) | null;
  /** A timeline to be written, and what it is called. */
  readonly trace?: TrainingThreadData["trace"];
  /** The thread's program. Default: `training-thread.js`. Tests have others. */
  readonly program?: URL;
  /** For such a program. */
  readonly programData?: unknown;
}

export type TrainingEnd =
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly reason: string; readonly hint: string | undefined; readonly code: string };

export class Training {
  /** What the engine says of itself; rejects never, null when the thread ended before its engine ran. */
  readonly started: Promise<string | null>;
  /** How the thread ended. */
  readonly ended: Promise<TrainingEnd>;
  /** What the thread shows of itself. */
  readonly pulse = new Pulse();
  readonly #thread: Worker;
  readonly #end: AsyncEnd<ToLink, FromLink>;
  readonly #memories = new Map<number, ArrayBufferLike>();
  readonly #shared: SharedVectors | null;
  #link: WorkerLink | null = null;
  readonly #brief: Promise<() => Promise<Briefing | null>>;
  #sayBrief: (brief: () => Promise<Briefing | null>) => void = () => {};
  #sayStarted: (engine: string | null) => void = () => {};

  constructor({ engine, shared = null, program = new URL("./training-thread.js", import.meta.url), trace, programData }: TrainingOptions) {
    const { training, link } = createChannel();
    this.#shared = shared;
    const data: TrainingThreadData = {
      channel: training,
      engine,
      pulse: this.pulse.memory,
      shared: shared && { path: shared.path, arena: shared.arena },
      trace,
      programData,
    };
    let failure: TrainingEnd | undefined;
    this.#brief = new Promise((resolve) => {
      this.#sayBrief = resolve;
    });
    this.started = new Promise((resolve) => {
      this.#sayStarted = resolve;
    });
    this.#end = new AsyncEnd<ToLink, FromLink>(link, (message) => {
      if (message.kind === "failed") failure = message;
      else if (message.kind === "started") this.#sayStarted(message.engine);
      else this.#serve(message);
    });
    this.#thread = new Worker(program, { workerData: data, transferList: [training.port], resourceLimits: trainingThreadLimits });
    this.ended = new Promise((resolve) => {
      this.#thread.on("error", (error: Error) => {
        failure ??= { kind: "failed", reason: `the training thread broke: ${error.message}`, hint: undefined, code: "ENGINE" };
      });
      this.#thread.on("exit", (code) => {
        // Its last message may still be on the way through the port.
        void this.#end.closed.then(() => {
          this.#sayStarted(null);
          resolve(
            failure ??
              (code === 0
                ? { kind: "done" }
                : { kind: "failed", reason: `the training thread ended with ${code}`, hint: undefined, code: "ENGINE" }),
          );
        });
      });
    });
  }

  /** From now on requests are answered. The thread's first one is for a briefing, and waits for this. */
  serve(link: WorkerLink, brief: () => Promise<Briefing | null>): void {
    this.#link = link;
    this.#sayBrief(brief);
  }

  /** Ends the thread whatever it does. It owns no socket, so this is safe. */
  async terminate(): Promise<void> {
    await this.#thread.terminate();
  }

  #serve(message: Exclude<ToLink, { kind: "failed" | "started" }>): void {
    const link = this.#link;
    switch (message.kind) {
      case "briefing":
        void this.#answerBriefing();
        break;
      case "next":
        void link?.next().then((turns) => this.#end.reply({ kind: "turns", turns, member: link.member }));
        break;
      case "ready":
        link?.ready(message.generation);
        break;
      case "allocated":
        this.#memories.set(message.id, this.#bufferOf(message.memory));
        break;
      case "sum": {
        const memory = this.#memories.get(message.id);
        invariant(memory, `no shared memory ${message.id}`);
        link?.startSum(new Float32Array(memory, message.offset, message.length));
        break;
      }
      case "finishSums":
        void link?.finishSums().then((result) => this.#end.reply({ kind: "sums", result }));
        break;
      case "vote":
        link?.vote(message.ballot);
        break;
      case "save":
        link?.save(message.parts);
        break;
      case "offer":
        link?.offer(message.parts);
        break;
      default:
        message satisfies never;
    }
  }

  #bufferOf(memory: SummableMemory | ArenaRange): ArrayBufferLike {
    if ("buffer" in memory) {
      adoptSummable(memory);
      return memory.buffer;
    }
    invariant(this.#shared, "memory of the arena has an arena");
    return this.#shared.memory.view(memory.arena, memory.offset, memory.bytes);
  }

  async #answerBriefing(): Promise<void> {
    const brief = await this.#brief;
    this.#end.reply({ kind: "briefing", briefing: await brief() });
  }
}
