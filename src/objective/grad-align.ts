/**
 * GradAlign (Andriushchenko & Flammarion 2020): mean 1 - cos(a, b), a = grad L(x) a constant and b = grad L(x + u) at a random
 * neighbour. It keeps the loss linear enough for single-step attacks.
 *
 * The parameters' gradient of the cosine needs no double backpropagation: d cos = v . db with the constant
 * v = (a/|a| - cos b/|b|) / |b|, and v . grad L(x+u) is the difference of two passes at x + u +- s v/|v|, times |v| / (2 s),
 * to O(s^2). That difference itself is 0 at present (v is orthogonal to b); only its gradient counts.
 */
import { addCrossEntropyGradient, crossEntropyOf } from "./per-sample.js";
import { constantOf, type Term, viewOf } from "./term.js";

export const gradAlign: Term = {
  needs: ["grad-align-ahead", "grad-align-behind"],
  apply(views, { labels }, weight) {
    const ahead = viewOf(views, "grad-align-ahead");
    const behind = viewOf(views, "grad-align-behind");
    const cosines = constantOf(ahead, "cosine");
    const scales = constantOf(ahead, "scale");
    let sum = 0;
    for (let i = 0; i < ahead.n; i++) {
      const label = labels[i] as number;
      const scale = scales[i] as number;
      sum += 1 - (cosines[i] as number) - scale * (crossEntropyOf(ahead, i, label) - crossEntropyOf(behind, i, label));
      addCrossEntropyGradient(ahead, i, label, (-weight * scale) / ahead.total);
      addCrossEntropyGradient(behind, i, label, (weight * scale) / ahead.total);
    }
    return sum / ahead.total;
  },
};
