/**
 * A model out of layers: normalisation, then a sequence that ends in logits, over one flat vector of parameters.
 *
 * Passes run outside of `tf.tidy` and free every tensor themselves as soon as nothing needs it; a caller who wraps one in a
 * tidy loses nothing, except that a `Pass` must not outlive the tidy it began in.
 */

import type { Tensor, Tensor1D, Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Precision } from "../engine/ops.js";
import { invariant } from "../util/error.js";
import { GradientSink } from "./gradient-sink.js";
import { type BatchPart, type PassStatistics, RUNNING, type StatisticsPolicy } from "./group-statistics.js";
import { initialise } from "./initialise.js";
import { Kept } from "./kept.js";
import type { BoundLayer, BoundParameter, LayerBuilder } from "./layer.js";
import { checkNormalisation, type InputNormalisation, Normalise } from "./layers/normalise.js";
import type { BoundModel, Head, Model, Parameter, Pass } from "./model.js";
import { type InputGradient, RecordedPasses } from "./recorded-passes.js";

export interface NetworkOptions {
  readonly inputShape: readonly [number, number, number];
  readonly numClasses: number;
  readonly input: InputNormalisation;
  /** The narrowest precision that the layers compute in; a pass that asks for less gets this. */
  readonly narrowest: Precision;
  /** From normalised images to logits. */
  readonly layers: LayerBuilder;
}

export function createNetwork(options: NetworkOptions): Model {
  const { inputShape, numClasses, input, narrowest } = options;
  checkNormalisation(input, inputShape[2]);
  const body = options.layers(inputShape);
  invariant(
    body.outputShape.length === 1 && body.outputShape[0] === numClasses,
    `a network for ${numClasses} classes ends in [${body.outputShape}]`,
  );

  let numParameters = 0;
  const parameters = body.parameters.map(({ name, shape, decay, statistic = false }): Parameter => {
    const size = shape.reduce((product, length) => product * length, 1);
    const offset = numParameters;
    numParameters += size;
    return { name, shape, offset, size, decay, ...(statistic && { statistic }) };
  });

  function initial(seed: bigint): Float32Array {
    const values = new Float32Array(numParameters);
    body.parameters.forEach((spec, index) => {
      const { offset, size } = parameters[index] as Parameter;
      initialise(values.subarray(offset, offset + size), spec.initial, { seed, index });
    });
    return values;
  }

  function bind(values: Tensor1D, wanted: Precision, statistics: StatisticsPolicy = RUNNING): BoundModel {
    const precision = narrowest === "fp32" ? narrowest : wanted;
    invariant(values.size === numParameters, `${values.size} values for a model of ${numParameters} parameters`);
    const bound = parameters.map(({ shape, offset, size }): BoundParameter => {
      const flat = tf.slice(values, [offset], [size]);
      const value = tf.reshape(flat, [...shape]);
      flat.dispose();
      return { value, offset, size };
    });
    return new BoundNetwork({ normalise: new Normalise(input, precision), body: body.bind(bound, precision), numParameters, statistics });
  }

  return { parameters, numParameters, inputShape, numClasses, macsPerSample: body.macsPerSample, memory: body.memory ?? [], initial, bind };
}

type ReadyCallback = (from: number, to: number) => void;

interface BoundNetworkOptions {
  readonly normalise: Normalise;
  readonly body: BoundLayer;
  readonly numParameters: number;
  readonly statistics: StatisticsPolicy;
}

class BoundNetwork implements BoundModel {
  readonly #normalise: Normalise;
  readonly #body: BoundLayer;
  readonly #numParameters: number;
  readonly #statistics: StatisticsPolicy;
  readonly #recorded = new RecordedPasses();

  constructor({ normalise, body, numParameters, statistics }: BoundNetworkOptions) {
    this.#normalise = normalise;
    this.#body = body;
    this.#numParameters = numParameters;
    this.#statistics = statistics;
  }

  logits(x: Tensor4D): Tensor2D {
    return this.#run(x, new Kept("logits", this.#inner()));
  }

  inputGradient(x: Tensor4D, head: Head): InputGradient {
    return this.#recorded.run(x, head, (given) => this.#inputGradient(given, head));
  }

  #inputGradient(x: Tensor4D, head: Head): InputGradient {
    const kept = new Kept("input", this.#inner());
    const logits = this.#run(x, kept);
    const dLogits = tf.tidy(() => head(logits));
    const dNormalised = this.#body.backward(dLogits, kept, { sink: null, input: true });
    invariant(dNormalised, "no input gradient came back");
    return { logits, gradient: this.#normalise.backward(dNormalised) as Tensor4D };
  }

  features(x: Tensor4D): Tensor2D {
    const kept = new Kept("features");
    this.#run(x, kept).dispose();
    return kept.take() as Tensor2D; // every network here ends in a linear head
  }

  forward(x: Tensor4D, parts: readonly BatchPart[] | null = null): Pass {
    const kept = new Kept("update", this.#statistics.update === "group" ? { parts } : "running");
    const logits = this.#run(x, kept);
    const body = this.#body;
    const numParameters = this.#numParameters;
    let pending = true;
    const back = (dLogits: Tensor2D, into: Float32Array, onReady: ReadyCallback | undefined, input: boolean): Tensor | null => {
      invariant(pending, "a pass has one backward");
      invariant(into.length === numParameters, `room for ${into.length} of ${numParameters} gradients`);
      pending = false;
      const sink = new GradientSink(into, onReady);
      const dNormalised = body.backward(dLogits.clone(), kept, { sink, input });
      invariant(sink.begin === 0, `gradients 0..${sink.begin} were never written`);
      kept.dispose();
      return dNormalised;
    };
    return {
      logits,
      backward: (dLogits, into, onReady) => back(dLogits, into, onReady, false)?.dispose(),
      backwardToInput: (dLogits, into, onReady) => {
        const dNormalised = back(dLogits, into, onReady, true);
        invariant(dNormalised, "no input gradient came back");
        return this.#normalise.backward(dNormalised) as Tensor4D;
      },
      dispose() {
        pending = false;
        kept.dispose();
      },
    };
  }

  dispose(): void {
    this.#recorded.dispose();
    this.#normalise.dispose();
    this.#body.dispose();
  }

  #inner(): PassStatistics {
    return this.#statistics.inner === "group" ? { parts: null } : "running";
  }

  #run(x: Tensor4D, kept: Kept): Tensor2D {
    return this.#body.forward(this.#normalise.forward(x), kept) as Tensor2D;
  }
}
