/**
 * The gradient of the objective by the parameters, on views that are made: all of them go through the network as one batch,
 * forward once and backward once.
 *
 * In micro-batches the logits of all chunks come first, keeping nothing, then the objective, then forward and backward chunk
 * by chunk with the gradients added up: memory for one chunk, at the price of a second forward pass.
 *
 * The samples are fixed here, so it may be called again with the network at other parameters, as weight perturbation does.
 */
import type { Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { groupSizeOf } from "../config/group-size.js";
import type { BatchPart } from "../model/group-statistics.js";
import type { BoundModel, Pass } from "../model/model.js";
import type { Figures } from "../objective/objective.js";
import { createView, type View, type ViewName } from "../objective/view.js";
import type { Range } from "../util/range.js";
import { energySignals } from "./guard/signals.js";
import { chunksOfParts, rows } from "./micro-batch.js";
import { partsOf, pullsOf } from "./statistics.js";
import type { StepInput } from "./step-input.js";
import type { StepViews } from "./views/views.js";

/** Where a gradient goes: `Gradient` on its way to the sum over all workers, or memory of this worker's own. */
export interface GradientTarget {
  readonly values: Float32Array;
  begin(figures: Figures): void;
  ready(from: number): void;
}

export interface DifferentiateOptions {
  /** The step's own gradient unless given. */
  readonly target?: GradientTarget;
  /** A view whose samples' gradient dL/dx [n,H,W,C] is wanted as well; the caller disposes it. */
  readonly toInputOf?: ViewName;
  /** Whether running statistics follow these samples. Default: yes. */
  readonly movesStatistics?: boolean;
}

export interface Differentiated {
  /** What the objective saw. */
  readonly views: Partial<Record<ViewName, View>>;
  /** null where none was asked for, and for an empty slice. */
  readonly inputGradient: Tensor4D | null;
}

/** Leaves this worker's share of the gradient and of the figures under way to the sum over all workers, or in another target. */
export function differentiate(views: StepViews, at: BoundModel, input: StepInput, options: DifferentiateOptions = {}): Differentiated {
  const { numClasses } = input;
  const gradient = options.target ?? input.gradient;
  const parts = [...views.samples.values()].map(({ x }) => x);
  const wanted = options.toInputOf === undefined ? null : rangeOf(views, options.toInputOf);
  const { model, memory } = input.config;
  const chunks = chunksOfParts(
    parts.map((x) => x.shape[0]),
    memory.microBatch,
    groupSizeOf(model),
  );
  const pulls = options.movesStatistics === false ? new Map() : pullsOf(views.samples, model, input.progress);
  const forward = (range: Range): Pass => forwardRows(at, parts, range, partsOf(views.samples, pulls, range));
  if (chunks.length === 0) {
    const empty = evaluate(views, new Float32Array(0), input);
    gradient.begin(empty.figures);
    gradient.values.fill(0);
    gradient.ready(0);
    return { views: empty.parts, inputGradient: null };
  }
  const inputGradients: Tensor4D[] = [];
  const back = (pass: Pass, dLogits: Float32Array, range: Range, into: Float32Array, ready: (from: number) => void): void => {
    const own = backward(pass, { dLogits, numClasses, range, wanted }, into, ready);
    if (own) inputGradients.push(own);
  };
  let seen: Partial<Record<ViewName, View>>;
  if (chunks.length === 1) {
    const all = chunks[0] as Range;
    const pass = forward(all);
    const { figures, dLogits, parts: evaluated } = evaluate(views, logitsOf(pass), input);
    seen = evaluated;
    gradient.begin(figures);
    back(pass, dLogits, all, gradient.values, (from) => gradient.ready(from));
  } else {
    const { figures, dLogits, parts: evaluated } = evaluate(views, logitsOfChunks(forward, chunks, numClasses), input);
    seen = evaluated;
    gradient.begin(figures);
    accumulate(chunks, gradient, (range, into, ready) => {
      const pass = forward(range);
      back(pass, dLogits.subarray(range.from * numClasses, range.to * numClasses), range, into, ready as (from: number) => void);
    });
  }
  const inputGradient = inputGradients.length === 0 ? null : (tf.concat(inputGradients, 0) as Tensor4D);
  tf.dispose(inputGradients);
  return { views: seen, inputGradient };
}

/** The rows of a view among those of all views, one after the other. */
function rangeOf(views: StepViews, wanted: ViewName): Range {
  let from = 0;
  for (const [name, { x }] of views.samples) {
    if (name === wanted) return { from, to: from + x.shape[0] };
    from += x.shape[0];
  }
  return { from: 0, to: 0 };
}

/** Runs `add` on every chunk; the first writes the gradient, the others add to it, and with the last it becomes ready. */
function accumulate(
  chunks: readonly Range[],
  gradient: GradientTarget,
  add: (range: Range, into: Float32Array, ready: (from: number, to: number) => void) => void,
): void {
  const { values } = gradient;
  const own = new Float32Array(values.length);
  for (const [c, range] of chunks.entries()) {
    const first = c === 0;
    const last = c === chunks.length - 1;
    add(range, first ? values : own, (from, to) => {
      if (!first) for (let i = from; i < to; i++) (values[i] as number) += own[i] as number;
      if (last) gradient.ready(from);
    });
  }
}

/**
 * The logits of all chunks [n*K]. By passes of the same kind as those that are differentiated, whose kept activations are
 * freed at once, so that a layer whose forward depends on a pass's purpose gives the logits that its backward belongs to.
 */
function logitsOfChunks(forward: (range: Range) => Pass, chunks: readonly Range[], numClasses: number): Float32Array {
  const logits = new Float32Array((chunks.at(-1) as Range).to * numClasses);
  for (const range of chunks) {
    const pass = forward(range);
    logits.set(logitsOf(pass), range.from * numClasses);
    pass.dispose();
    pass.logits.dispose();
  }
  return logits;
}

/** A pass over rows from..to of the parts, one after the other. */
function forwardRows(at: BoundModel, parts: readonly Tensor4D[], { from, to }: Range, batch: readonly BatchPart[]): Pass {
  const slices: Tensor4D[] = [];
  let begin = 0;
  for (const x of parts) {
    const end = begin + x.shape[0];
    if (begin < to && end > from) slices.push(rows(x, { from: Math.max(from, begin) - begin, to: Math.min(to, end) - begin }));
    begin = end;
  }
  const x = tf.concat(slices, 0) as Tensor4D;
  tf.dispose(slices);
  const pass = at.forward(x, batch);
  x.dispose();
  return pass;
}

const logitsOf = (pass: Pass): Float32Array => pass.logits.dataSync<"float32">() as Float32Array;

interface BackwardInput {
  readonly dLogits: Float32Array;
  readonly numClasses: number;
  /** The rows of the pass among those of all views. */
  readonly range: Range;
  /** Of which of them dL/dx is wanted. */
  readonly wanted: Range | null;
}

/** Frees the pass. Returns dL/dx of those rows that are wanted, null where the pass has none. */
function backward(
  pass: Pass,
  { dLogits, numClasses, range, wanted }: BackwardInput,
  into: Float32Array,
  ready: (from: number, to: number) => void,
): Tensor4D | null {
  const tensor = tf.tensor2d(dLogits, [dLogits.length / numClasses, numClasses]) as Tensor2D;
  const [from, to] = [Math.max(range.from, wanted?.from ?? 0), Math.min(range.to, wanted?.to ?? 0)];
  let own: Tensor4D | null = null;
  if (from < to) {
    const dx = pass.backwardToInput(tensor, into, ready);
    own = rows(dx, { from: from - range.from, to: to - range.from });
    dx.dispose();
  } else {
    pass.backward(tensor, into, ready);
  }
  tf.dispose([tensor, pass.logits]);
  return own;
}

/** The objective on the logits of all views, one after the other [n*K], and its gradient by them. */
function evaluate(views: StepViews, logits: Float32Array, input: StepInput): Evaluated {
  const { numClasses, objective, drives, progress, sumOverWorkers } = input;
  const parts: Partial<Record<ViewName, View>> = {};
  let from = 0;
  for (const [name, { x, total, constants }] of views.samples) {
    const to = from + x.shape[0] * numClasses;
    parts[name] = createView(logits.subarray(from, to), { numClasses, total, constants });
    from = to;
  }
  const figures = objective.evaluate(parts, { labels: input.clean.labels, progress, factor: drives.factor, sumOverWorkers });
  const dLogits = new Float32Array(logits.length);
  from = 0;
  for (const { gradient } of Object.values(parts)) {
    dLogits.set(gradient, from);
    from += gradient.length;
  }
  return { figures: { ...figures, ...energySignals(parts), ...views.figures }, dLogits, parts };
}

interface Evaluated {
  readonly figures: Figures;
  readonly dLogits: Float32Array;
  readonly parts: Partial<Record<ViewName, View>>;
}
