/**
 * A pre-activation residual block (He et al. 2016, "Identity mappings"; the wide form of Zagoruyko & Komodakis 2016):
 *
 *   o = entry(x)                        norm and activation
 *   y = branch(o) + x                   where the shape stays, or
 *   y = branch(o) + shortcut(o)         where a 1x1 convolution has to change it
 *
 * A value with two readers is a second handle of the same storage.
 */

import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Precision } from "../../engine/ops.js";
import type { BoundLayer, BoundParameter, Layer, LayerBuilder, ParameterSpec } from "../layer.js";
import { bindEach, type NamedBuilder, sequence } from "./sequence.js";

export interface ResidualOptions {
  readonly entry: readonly NamedBuilder[];
  readonly branch: readonly NamedBuilder[];
  /** null: the input itself. */
  readonly shortcut: LayerBuilder | null;
}

export function residual(options: ResidualOptions): LayerBuilder {
  return (inputShape) => {
    const entry = sequence(options.entry)(inputShape);
    const branch = sequence(options.branch)(entry.outputShape);
    const shortcut = options.shortcut?.(entry.outputShape) ?? null;
    const layers: readonly Layer[] = shortcut ? [entry, branch, shortcut] : [entry, branch];
    const parameters: ParameterSpec[] = [...entry.parameters, ...branch.parameters];
    for (const p of shortcut?.parameters ?? []) parameters.push({ ...p, name: `shortcut.${p.name}` });

    function bind(values: readonly BoundParameter[], precision: Precision): BoundLayer {
      const bound = bindEach(layers, values, precision);
      const [boundEntry, boundBranch, boundShortcut] = bound as [BoundLayer, BoundLayer, BoundLayer | undefined];
      const passes = boundShortcut
        ? projected(boundEntry, boundBranch, boundShortcut, entry.parameters.length > 0)
        : identity(boundEntry, boundBranch, entry.parameters.length > 0);
      return {
        ...passes,
        dispose() {
          for (const layer of bound) layer.dispose();
        },
      };
    }

    return {
      parameters,
      outputShape: branch.outputShape,
      macsPerSample: layers.reduce((sum, layer) => sum + layer.macsPerSample, 0),
      memory: layers.flatMap((layer) => layer.memory ?? []),
      bind,
    };
  };
}

type Passes = Pick<BoundLayer, "forward" | "backward">;

function identity(entry: BoundLayer, branch: BoundLayer, entryLearns: boolean): Passes {
  return {
    forward(x, kept) {
      const skip = x.clone();
      const out = branch.forward(entry.forward(x, kept), kept);
      return sum(out, skip);
    },
    backward(dy, kept, wanted) {
      const dOut = branch.backward(dy.clone(), kept, { sink: wanted.sink, input: wanted.input || entryLearns });
      const dx = dOut && entry.backward(dOut, kept, wanted);
      if (dx && wanted.input) return sum(dx, dy);
      dx?.dispose();
      dy.dispose();
      return null;
    },
  };
}

function projected(entry: BoundLayer, branch: BoundLayer, shortcut: BoundLayer, entryLearns: boolean): Passes {
  return {
    forward(x, kept) {
      const o = entry.forward(x, kept);
      const out = branch.forward(o.clone(), kept);
      return sum(out, shortcut.forward(o, kept));
    },
    backward(dy, kept, wanted) {
      const inner = { sink: wanted.sink, input: wanted.input || entryLearns };
      const dSkip = shortcut.backward(dy.clone(), kept, inner);
      const dOut = branch.backward(dy, kept, inner);
      return dSkip && dOut ? entry.backward(sum(dOut, dSkip), kept, wanted) : null;
    },
  };
}

/** a + b, after which both are freed. */
function sum(a: Tensor, b: Tensor): Tensor {
  const total = tf.add(a, b);
  a.dispose();
  b.dispose();
  return total;
}
