/**
 * Initial values, drawn on the host: a function of (seed, parameter's index) alone, so they are the same on every engine,
 * worker and machine. Parameter i reads the row of position i of the stream `init`.
 */
import { fillNormal } from "../engine/random/philox.js";
import { PURPOSE } from "../engine/random/purpose.js";

export type Initial = { readonly kind: "normal"; readonly std: number } | { readonly kind: "constant"; readonly value: number };

export function initialise(out: Float32Array, initial: Initial, at: { seed: bigint; index: number }): void {
  switch (initial.kind) {
    case "constant":
      out.fill(initial.value);
      return;
    case "normal":
      fillNormal(out, { seed: at.seed, purpose: PURPOSE.init, step: 0, position: at.index });
      for (let i = 0; i < out.length; i++) out[i] = (out[i] as number) * initial.std;
      return;
    default:
      initial satisfies never;
  }
}
