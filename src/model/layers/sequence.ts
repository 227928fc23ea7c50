/**
 * Layers one after the other. Backward runs them in reverse and stops below the first layer that has parameters, when the
 * input's gradient isn't wanted: an update never computes what nobody reads.
 */
import type { Tensor } from "@tensorflow/tfjs-core";
import type { Precision } from "../../engine/ops.js";
import { invariant } from "../../util/error.js";
import type { BoundLayer, BoundParameter, Layer, LayerBuilder, ParameterSpec, Shape } from "../layer.js";

/** A layer's name leads those of its parameters: `conv1` -> `conv1.weight`. "" adds nothing. */
export type NamedBuilder = readonly [name: string, builder: LayerBuilder];

export function sequence(builders: readonly NamedBuilder[]): LayerBuilder {
  return (inputShape) => {
    const layers: Layer[] = [];
    const parameters: ParameterSpec[] = [];
    let outputShape: Shape = inputShape;
    for (const [name, build] of builders) {
      const layer = build(outputShape);
      layers.push(layer);
      parameters.push(...layer.parameters.map((p) => (name === "" ? p : { ...p, name: `${name}.${p.name}` })));
      outputShape = layer.outputShape;
    }
    const firstWithParameters = layers.findIndex((layer) => layer.parameters.length > 0);

    function bind(values: readonly BoundParameter[], precision: Precision): BoundLayer {
      const bound = bindEach(layers, values, precision);
      return {
        forward(x, kept) {
          let y = x;
          for (const layer of bound) y = layer.forward(y, kept);
          return y;
        },
        backward(dy, kept, { sink, input }) {
          let gradient: Tensor = dy;
          for (let i = bound.length - 1; i >= 0; i--) {
            const below = sink !== null && firstWithParameters >= 0 && firstWithParameters < i;
            const dx = (bound[i] as BoundLayer).backward(gradient, kept, { sink, input: input || below });
            if (!dx) return null;
            gradient = dx;
          }
          return gradient;
        },
        dispose() {
          for (const layer of bound) layer.dispose();
        },
      };
    }

    return {
      parameters,
      outputShape,
      macsPerSample: layers.reduce((sum, layer) => sum + layer.macsPerSample, 0),
      memory: layers.flatMap((layer) => layer.memory ?? []),
      bind,
    };
  };
}

/** Binds layers to consecutive parameters. */
export function bindEach(layers: readonly Layer[], values: readonly BoundParameter[], precision: Precision): BoundLayer[] {
  let next = 0;
  const bound = layers.map((layer) => {
    const from = next;
    next += layer.parameters.length;
    return layer.bind(values.slice(from, next), precision);
  });
  invariant(next === values.length, `${values.length} values for ${next} parameters`);
  return bound;
}
