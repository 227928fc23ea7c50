/**
 * A TensorFlow.js model behind the seam `Classifier`. Gradients are TensorFlow.js's own, recorded on its tape and computed by the
 * kernels of whichever engine is started; weights are constants to it.
 *
 * One forward pass serves both the logits and the gradient: the loss is a node of ours whose derivative is the head's dL/dlogits.
 */
import type { Tensor, Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Classifier } from "../../model/model.js";
import { IsoergError } from "../../util/error.js";

export interface ForeignPasses {
  /** x [B,H,W,C] in [0,1] -> outputs of any rank whose last axis are the classes. */
  readonly logits: (x: Tensor4D) => Tensor;
  readonly features: ((x: Tensor4D) => Tensor) | null;
  readonly dispose: () => void;
}

/** @param options.batch a size that the model insists on, or null. */
export function createTfjsClassifier(passes: ForeignPasses, options: { batch: number | null }): Classifier {
  const rows = (pass: (x: Tensor4D) => Tensor, x: Tensor4D): Tensor2D => {
    const run = (part: Tensor4D): Tensor2D => {
      const y = pass(part);
      return tf.reshape(y, [part.shape[0], -1]);
    };
    const { batch } = options;
    if (batch === null || batch === x.shape[0]) return run(x);
    if (batch !== 1) {
      throw new IsoergError("USAGE", `the model takes batches of exactly ${batch} samples`, {
        hint: "Convert it with an open batch size, or one of 1.",
      });
    }
    return tf.concat(tf.split(x, x.shape[0]).map((part) => run(part as Tensor4D))) as Tensor2D;
  };
  const guarded = <T>(call: () => T): T => {
    try {
      return call();
    } catch (cause) {
      throw explain(cause);
    }
  };
  const { features } = passes;
  return {
    logits: (x) => guarded(() => tf.tidy(() => rows(passes.logits, x))),
    inputGradient(x, head) {
      return guarded(() => {
        let logits: Tensor2D | undefined;
        const loss = tf.customGrad((f, save) => {
          const outputs = f as Tensor;
          (save as (tensors: Tensor[]) => void)([outputs]);
          return {
            value: tf.sum(outputs),
            gradFunc: (_dy, saved) => head((saved as Tensor[])[0] as Tensor2D),
          };
        });
        const { value, grad } = tf.valueAndGrad((input: Tensor) => {
          logits = tf.keep(rows(passes.logits, input as Tensor4D));
          return loss(logits);
        })(x);
        value.dispose();
        return { logits: logits as unknown as Tensor2D, gradient: grad as Tensor4D };
      });
    },
    ...(features && { features: (x: Tensor4D) => guarded(() => tf.tidy(() => rows(features, x))) }),
    dispose: passes.dispose,
  };
}

/** What TensorFlow.js throws, as something that a person can act on. */
function explain(cause: unknown): unknown {
  if (cause instanceof IsoergError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  if (/gradient function not found|Cannot compute gradient/i.test(message)) {
    return new IsoergError("USAGE", `the model has no gradient: ${message.split("\n", 1)[0]}`, {
      hint: "Attacks, saliency and gradient scores need one; --no-attack --no-gradient leaves them out.",
      cause,
    });
  }
  if (/executeAsync|dynamic|control flow/i.test(message)) {
    return new IsoergError("USAGE", "the graph has control flow or outputs of unknown size, which run asynchronously only", {
      hint: "Convert the model with --control_flow_v2=false, or freeze the part that classifies.",
      cause,
    });
  }
  if (/Kernel '[^']+' not registered/i.test(message)) {
    return new IsoergError("ENGINE", `this engine lacks a kernel of the model's: ${message.split("\n", 1)[0]}`, {
      hint: "Try --engine wasm or --engine cpu.",
      cause,
    });
  }
  return cause;
}
