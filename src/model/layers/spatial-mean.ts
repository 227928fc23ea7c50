/** Mean over height and width: [B,H,W,C] -> [B,C]. The features leave in float32, for the head. */
import type { Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import { ops, type Precision } from "../../engine/ops.js";
import type { BoundLayer, LayerBuilder } from "../layer.js";

export function spatialMean(): LayerBuilder {
  return (inputShape) => {
    function bind(_: unknown, precision: Precision): BoundLayer {
      return {
        forward(x) {
          const mean = ops().spatialMean(x as Tensor4D);
          x.dispose();
          if (precision === "fp32") return mean;
          const full = ops().toPrecision(mean, "fp32");
          mean.dispose();
          return full;
        },
        backward(dy) {
          const cast = precision === "fp32" ? dy : ops().toPrecision(dy, precision);
          const dx = ops().spatialMeanGrad(cast as Tensor2D, [dy.shape[0] as number, ...inputShape]);
          if (cast !== dy) cast.dispose();
          dy.dispose();
          return dx;
        },
        dispose() {},
      };
    }
    return { parameters: [], outputShape: [inputShape.at(-1) as number], macsPerSample: 0, bind };
  };
}
