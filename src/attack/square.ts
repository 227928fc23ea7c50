/**
 * Square Attack (Andriushchenko, Croce, Flammarion & Hein, ECCV 2020): random search with squares, by the model's answers alone,
 * no gradient. In AutoAttack's settings: p = 0.8 on the unscaled schedule, margin loss, 5,000 queries.
 *
 * It starts from vertical stripes (Linf) or a grid of pyramids (L2). Each query repaints one square and is kept where it lowers
 * the margin. Every draw is keyed by (sample's position, query): AutoAttack's program draws the square's place, and in Linf
 * its colours, once for the whole batch; here each sample has its own, so a result does not depend on the batch.
 */
import * as tf from "@tensorflow/tfjs-core";
import { type Draws, draws } from "../engine/random/philox.js";
import type { Classifier } from "../model/model.js";
import type { Norm } from "./apgd.js";
import { batchOf } from "./fab.js";
import { answerOf } from "./logit-loss.js";
import { createPainter } from "./square-painter.js";

export interface SquareInput {
  readonly model: Classifier;
  /** Clean samples [n,H,W,C] in [0,1], in host memory. */
  readonly x: Float32Array;
  readonly shape: readonly [number, number, number];
  readonly labels: Int32Array;
  readonly numClasses: number;
  readonly norm: Norm;
  /** In pixels. */
  readonly eps: number;
  readonly queries: number;
  readonly key: { readonly seed: bigint; readonly purpose: number; readonly step: number; readonly positions: ArrayLike<number> };
}

export interface SquareResult {
  /** [n,H,W,C] */
  readonly adversarial: Float32Array;
  /** 1 where the returned point is misclassified. */
  readonly fooled: Uint8Array;
  /** Queries asked until then, or in all. */
  readonly queries: Int32Array;
}

export function square(input: SquareInput): SquareResult {
  const { model, x: clean, shape, labels, numClasses, norm, eps, key } = input;
  const numSamples = labels.length;
  const size = shape[0] * shape[1] * shape[2];
  const painter = createPainter({ norm, eps, shape });
  const best = clean.slice();
  const margins = new Float64Array(numSamples).fill(Number.POSITIVE_INFINITY);
  const fooled = new Uint8Array(numSamples);
  const asked = new Int32Array(numSamples);
  const candidates = new Float32Array(clean.length);
  let rows = Array.from({ length: numSamples }, (_, i) => i);
  const drawsOf = (sample: number, query: number): Draws =>
    draws({ seed: key.seed, purpose: key.purpose, step: key.step, inner: query, position: key.positions[sample] as number });

  // Query 0 asks about the start.
  for (let query = 0; query <= input.queries && rows.length > 0; query++) {
    const share = shareOf(query - 1);
    for (const sample of rows) {
      const [from, to] = [sample * size, (sample + 1) * size];
      const candidate = candidates.subarray(from, to);
      if (query === 0) painter.start(clean.subarray(from, to), candidate, drawsOf(sample, 0));
      else {
        candidate.set(best.subarray(from, to));
        painter.repaint(clean.subarray(from, to), candidate, share, drawsOf(sample, query));
      }
    }
    const batch = batchOf(candidates, rows, shape);
    const logits = model.logits(batch);
    const z = logits.dataSync<"float32">() as Float32Array;
    tf.dispose([batch, logits]);
    rows = rows.filter((sample, row) => {
      const own = z.subarray(row * numClasses, (row + 1) * numClasses);
      const margin = marginOf(own, labels[sample] as number);
      const wrong = answerOf(own) !== labels[sample];
      asked[sample] = query + 1;
      if (wrong || margin < (margins[sample] as number)) {
        margins[sample] = margin;
        best.set(candidates.subarray(sample * size, (sample + 1) * size), sample * size);
      }
      if (wrong) fooled[sample] = 1;
      return !wrong;
    });
  }
  return { adversarial: best, fooled, queries: asked };
}

/** The share p of the image that a square covers, at a query (0, 1, ...): 0.8, halved after queries 10, 50, 200, ... */
export function shareOf(query: number): number {
  const halvings = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000].filter((bound) => query > bound).length;
  return 0.8 / 2 ** halvings;
}

function marginOf(logits: Float32Array, label: number): number {
  let rival = Number.NEGATIVE_INFINITY;
  for (let k = 0; k < logits.length; k++) if (k !== label) rival = Math.max(rival, logits[k] as number);
  return (logits[label] as number) - rival;
}
