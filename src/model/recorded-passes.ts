/**
 * Input-gradient passes that are launched as one where the engine can record them: on a GPU a small network's pass is bound by its
 * launches, and an attack or a chain makes the same pass again and again with other pixels.
 *
 * A pass is recorded at its second run with the same shape and head, so that nothing is made for the first time meanwhile. What
 * can't be recorded runs as before, every time. Recordings belong to one binding of the weights and go with it.
 */
import type { Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import { ops, type Recording } from "../engine/ops.js";
import type { Head } from "./model.js";

/** An attack and the chains of a step; an evaluation has a new head for each batch, and the oldest go. */
const MAX_HEADS = 4;

export interface InputGradient {
  readonly logits: Tensor2D;
  readonly gradient: Tensor4D;
}

export class RecordedPasses {
  /** By head, then by shape. */
  readonly #byHead = new Map<Head, Map<string, Recording | "seen" | "refused">>();

  run(x: Tensor4D, head: Head, pass: (x: Tensor4D) => InputGradient): InputGradient {
    const engine = ops();
    if (!engine.record) return pass(x);
    const shapes = this.#byHead.get(head) ?? new Map<string, Recording | "seen" | "refused">();
    if (!this.#byHead.has(head)) this.#admit(head, shapes);
    const shape = x.shape.join();
    let known = shapes.get(shape);
    if (known === "seen") {
      known =
        engine.record(x, (given) => {
          const { logits, gradient } = pass(given as Tensor4D);
          return [logits, gradient];
        }) ?? "refused";
      shapes.set(shape, known);
    }
    if (known === undefined) shapes.set(shape, "seen");
    if (known === undefined || typeof known === "string") return pass(x);
    const [logits, gradient] = known.run(x) as [Tensor2D, Tensor4D];
    return { logits, gradient };
  }

  dispose(): void {
    for (const head of [...this.#byHead.keys()]) this.#forget(head);
  }

  #admit(head: Head, shapes: Map<string, Recording | "seen" | "refused">): void {
    const [oldest] = this.#byHead.keys();
    if (oldest && this.#byHead.size >= MAX_HEADS) this.#forget(oldest);
    this.#byHead.set(head, shapes);
  }

  #forget(head: Head): void {
    for (const known of this.#byHead.get(head)?.values() ?? []) if (typeof known === "object") known.dispose();
    this.#byHead.delete(head);
  }
}
