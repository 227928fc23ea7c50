/**
 * Group normalisation (Wu & He 2018): each sample's channels in groups, so that a sample's result never depends on the
 * batch it came in (DESIGN.md rule 1). It keeps its input and the groups' means and reciprocal deviations.
 */
import type { Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";
import { ops } from "../../engine/ops.js";
import { IsoergError, invariant } from "../../util/error.js";
import type { BoundLayer, BoundParameter, LayerBuilder } from "../layer.js";
import { numValues } from "../pass-memory.js";

/** As in PyTorch. */
const EPSILON = 1e-5;

export function groupNorm(groups: number): LayerBuilder {
  return (inputShape) => {
    const channels = inputShape.at(-1) as number;
    if (channels % groups !== 0) {
      throw new IsoergError("CONFIG", `model.norm.groups is ${groups}, which does not divide a layer's ${channels} channels`, {
        hint: "choose a number of groups that divides the channels of every stage",
      });
    }

    function bind([weight, bias]: readonly BoundParameter[]): BoundLayer {
      invariant(weight && bias, "a group norm has a weight and a bias");
      // In float32 whatever the precision: statistics and their gradients are computed so.
      const gamma = weight.value as Tensor1D;
      const beta = bias.value as Tensor1D;
      return {
        forward(x, kept) {
          const { y, mean, rstd } = ops().groupNorm(x as Tensor4D, gamma, beta, groups, EPSILON);
          kept.forInput(mean);
          kept.forInput(rstd);
          kept.forInput(x);
          return y;
        },
        backward(dy, kept, { sink, input }) {
          const x = kept.take();
          const rstd = kept.take();
          const mean = kept.take();
          const want = sink ? "all" : "input";
          const { dx, dgamma, dbeta } = ops().groupNormGrad(dy as Tensor4D, x as Tensor4D, mean, rstd, gamma, groups, want);
          for (const used of [x, rstd, mean, dy]) used.dispose();
          if (sink) {
            invariant(dgamma && dbeta, "the engine gave no gradient of a group norm's parameters");
            sink.write(bias, dbeta);
            sink.write(weight, dgamma);
          }
          if (input) return dx;
          dx.dispose();
          return null;
        },
        dispose() {
          gamma.dispose();
          beta.dispose();
        },
      };
    }

    return {
      parameters: [
        { name: "weight", shape: [channels], decay: false, initial: { kind: "constant", value: 1 } },
        { name: "bias", shape: [channels], decay: false, initial: { kind: "constant", value: 0 } },
      ],
      outputShape: inputShape,
      macsPerSample: 0,
      memory: [
        {
          input: numValues(inputShape),
          output: numValues(inputShape),
          keptForInput: numValues(inputShape) + 2 * groups,
          keptForParameters: 0,
        },
      ],
      bind,
    };
  };
}
