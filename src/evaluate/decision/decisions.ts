/**
 * What a model decided on samples whose class is known, as counts: how often it took class t for class d, and how sure it was. Costs,
 * confusion matrices and abstaining below a confidence follow from the counts alone, and so do resampled ones: samples are
 * exchangeable, so the counts lose nothing that such a figure needs.
 */
import { z } from "zod";
import { invariant } from "../../util/error.js";

const count = z.int().nonnegative();

export const decisionsSchema = z.object({
  numClasses: count,
  /** Confidence max_y p(y|x) in equal bands from 0 to 1; the last includes 1. */
  numBands: count,
  /** Only those that occurred: true class, decided class, band of confidence, how many. */
  cells: z.array(z.tuple([count, count, count, count]).readonly()).readonly(),
});

export type Decisions = z.infer<typeof decisionsSchema>;

export const NUM_BANDS = 20;

/**
 * @param logits [n*K], finite
 * @param labels [n], true classes 0..K-1
 */
export function decisionsOf(logits: Float32Array, labels: ArrayLike<number>, numClasses: number): Decisions {
  invariant(logits.length === labels.length * numClasses, `${logits.length} logits for ${labels.length} samples of ${numClasses} classes`);
  const counts = new Map<number, number>();
  for (let i = 0; i < labels.length; i++) {
    const [decided, confidence] = decide(logits, i * numClasses, numClasses);
    const band = Math.min(NUM_BANDS - 1, Math.floor(confidence * NUM_BANDS));
    const key = ((labels[i] as number) * numClasses + decided) * NUM_BANDS + band;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const cells = [...counts]
    .sort(([a], [b]) => a - b)
    .map(([key, n]): [number, number, number, number] => {
      const pair = Math.floor(key / NUM_BANDS);
      return [Math.floor(pair / numClasses), pair % numClasses, key % NUM_BANDS, n];
    });
  return { numClasses, numBands: NUM_BANDS, cells };
}

/** The first of the largest logits, as accuracy counts it, and its softmax. */
function decide(logits: Float32Array, from: number, numClasses: number): [decided: number, confidence: number] {
  let best = 0;
  for (let k = 1; k < numClasses; k++) if ((logits[from + k] as number) > (logits[from + best] as number)) best = k;
  const top = logits[from + best] as number;
  let sum = 0;
  for (let k = 0; k < numClasses; k++) sum += Math.exp((logits[from + k] as number) - top);
  return [best, 1 / sum];
}

/** counts[true][decided] */
export function confusionOf({ numClasses, cells }: Decisions): number[][] {
  const matrix = Array.from({ length: numClasses }, () => new Array<number>(numClasses).fill(0));
  for (const [truth, decided, , n] of cells) {
    const row = matrix[truth];
    invariant(row !== undefined && decided < numClasses, `decisions of class ${truth} as ${decided} among ${numClasses}`);
    row[decided] = (row[decided] as number) + n;
  }
  return matrix;
}

export function numDecisions({ cells }: Decisions): number {
  return cells.reduce((sum, [, , , n]) => sum + n, 0);
}
