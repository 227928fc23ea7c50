/**
 * The gradient of the objective by the parameters, on views that are made: all of them go through the network as one batch,
 * forward once and backward once.
 *
 * The samples are fixed here, so it may be called again with the network at other parameters, as weight perturbation does.
 */
import type { Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { BoundModel } from "../model/model.js";
import type { Figures } from "../objective/objective.js";
import { createView, type View, type ViewName } from "../objective/view.js";
import type { StepInput } from "./step-input.js";
import type { StepViews } from "./views/views.js";

/** Leaves this worker's share of the gradient and of the figures under way to the sum over all workers. */
export function differentiate(views: StepViews, at: BoundModel, input: StepInput): void {
  const { gradient, numClasses } = input;
  const parts = [...views.samples.values()].map(({ x }) => x);
  const numSamples = parts.reduce((sum, x) => sum + x.shape[0], 0);
  if (numSamples === 0) {
    gradient.begin(evaluate(views, new Float32Array(0), input).figures);
    gradient.values.fill(0);
    gradient.ready(0);
    return;
  }
  const all = tf.concat(parts, 0) as Tensor4D;
  const pass = at.forward(all);
  all.dispose();
  const { figures, dLogits } = evaluate(views, pass.logits.dataSync<"float32">() as Float32Array, input);
  gradient.begin(figures);
  const dLogitsTensor = tf.tensor2d(dLogits, [numSamples, numClasses]) as Tensor2D;
  pass.backward(dLogitsTensor, gradient.values, gradient.ready);
  tf.dispose([dLogitsTensor, pass.logits]);
}

/** The objective on the logits of all views, one after the other [n*K], and its gradient by them. */
function evaluate(views: StepViews, logits: Float32Array, input: StepInput): { figures: Figures; dLogits: Float32Array } {
  const { numClasses, objective, progress, sumOverWorkers } = input;
  const parts: Partial<Record<ViewName, View>> = {};
  let from = 0;
  for (const [name, { x, total, constants }] of views.samples) {
    const to = from + x.shape[0] * numClasses;
    parts[name] = createView(logits.subarray(from, to), { numClasses, total, constants });
    from = to;
  }
  const figures = objective.evaluate(parts, { labels: input.clean.labels, progress, sumOverWorkers });
  const dLogits = new Float32Array(logits.length);
  from = 0;
  for (const { gradient } of Object.values(parts)) {
    dLogits.set(gradient, from);
    from += gradient.length;
  }
  return { figures: { ...figures, ...views.figures }, dLogits };
}
