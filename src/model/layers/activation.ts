/** An elementwise activation. It keeps its input, which every kind's derivative can be computed from. */
import type { ActivationConfig } from "../../config/schema.js";
import { type Activation, ops } from "../../engine/ops.js";
import type { BoundLayer, LayerBuilder } from "../layer.js";
import { numValues } from "../pass-memory.js";
import { learnableSmoothRelu } from "./smooth-relu.js";

export function activation(kind: Activation | ActivationConfig): LayerBuilder {
  if (kind.kind === "smooth-relu" && "learnable" in kind && kind.learnable) return learnableSmoothRelu(kind);
  const bound: BoundLayer = {
    forward(x, kept) {
      const y = ops().activation(x, kind);
      kept.forInput(x);
      return y;
    },
    backward(dy, kept) {
      const x = kept.take();
      const dx = ops().activationGrad(x, dy, kind);
      x.dispose();
      dy.dispose();
      return dx;
    },
    dispose() {},
  };
  return (inputShape) => {
    const size = numValues(inputShape);
    const memory = [{ input: size, output: size, keptForInput: size, keptForParameters: 0 }];
    return { parameters: [], outputShape: inputShape, macsPerSample: 0, memory, bind: () => bound };
  };
}
