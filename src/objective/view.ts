/**
 * One view of the samples as the objective's terms see it: logits in, gradient out.
 *
 * A view is a named batch of samples. `clean` are the labelled samples as augmented, `natural` the same ones as they are in
 * the data set, `adversarial` what an attack made of the clean ones, `generated` the chains; the others are neighbours of the
 * clean samples that measure how smooth the network is. How each is made stands in `../train/views/`; here they are logits.
 *
 * Terms are plain functions over these arrays in float64, on the host: a batch's logits are tiny beside its images, and so
 * every term can be checked against finite differences to float64 accuracy and is the same on every engine.
 */

export const VIEW_NAMES = [
  "clean",
  "natural",
  "adversarial",
  "generated",
  "virtual-adversarial",
  "llr",
  "llr-ahead",
  "llr-behind",
  "neighbour-a",
  "neighbour-b",
  "between-neighbours",
  "grad-align-ahead",
  "grad-align-behind",
  "cure-far-ahead",
  "cure-far-behind",
  "cure-near-ahead",
  "cure-near-behind",
] as const;

export type ViewName = (typeof VIEW_NAMES)[number];

/** What a term may read: a view, or `data`, which is the view that `objective.generative-on` names as the samples of p(x). */
export type ViewRole = ViewName | "data";

export interface View {
  /** Samples of this worker's slice. */
  readonly n: number;
  /** Samples of the global batch: means are over these. */
  readonly total: number;
  readonly numClasses: number;
  /** [n*K] */
  readonly logits: Float64Array;
  /** softmax of the logits [n*K]; dE/df_k = -probability_k. */
  readonly probabilities: Float64Array;
  /** E(x) = -logsumexp_k f_k(x) [n] */
  readonly energies: Float64Array;
  /** dL/dlogits [n*K]; terms add to it. */
  readonly gradient: Float64Array;
  /** What the view's maker says of its samples beside the logits, a value a sample: no gradient flows through them. */
  readonly constants: Constants;
}

export type Constants = Readonly<Record<string, Float64Array>>;

export type Views = Readonly<Partial<Record<ViewRole, View>>>;

export interface ViewOptions {
  readonly numClasses: number;
  /** The whole batch's samples of this view, over all workers. */
  readonly total: number;
  readonly constants?: Constants | undefined;
}

/** `logits` [n*K]. */
export function createView(logits: ArrayLike<number>, { numClasses, total, constants = {} }: ViewOptions): View {
  const n = logits.length / numClasses;
  const copy = Float64Array.from(logits);
  const probabilities = new Float64Array(copy.length);
  const energies = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const at = i * numClasses;
    let top = -Infinity;
    for (let k = 0; k < numClasses; k++) top = Math.max(top, copy[at + k] as number);
    let sum = 0;
    for (let k = 0; k < numClasses; k++) sum += Math.exp((copy[at + k] as number) - top);
    const logsumexp = top + Math.log(sum);
    energies[i] = -logsumexp;
    for (let k = 0; k < numClasses; k++) probabilities[at + k] = Math.exp((copy[at + k] as number) - logsumexp);
  }
  return { n, total, numClasses, logits: copy, probabilities, energies, gradient: new Float64Array(copy.length), constants };
}

/** Adds the gradient of a loss whose derivative by E(x_i) is `dEnergy`: dE/df_k = -probability_k. */
export function addEnergyGradient(view: View, i: number, dEnergy: number): void {
  const at = i * view.numClasses;
  for (let k = 0; k < view.numClasses; k++) {
    (view.gradient[at + k] as number) -= dEnergy * (view.probabilities[at + k] as number);
  }
}

/** Whether the largest logit is the label's. */
export function isCorrect(view: View, i: number, label: number): boolean {
  const at = i * view.numClasses;
  const own = view.logits[at + label] as number;
  for (let k = 0; k < view.numClasses; k++) if (k !== label && (view.logits[at + k] as number) >= own) return false;
  return true;
}
