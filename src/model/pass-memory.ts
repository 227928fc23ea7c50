/**
 * How much a pass holds at once, from what each layer declares, in values per sample. A forward pass piles up what the way back
 * needs, a backward pass takes it down again from the other end (kept.ts); between them stand a layer's input and its output.
 * Tensors are counted by shape: rounding to size classes and the kernels' own scratch come on top.
 */
import type { PassPurpose } from "./kept.js";

/** Of one layer and one sample, in values. */
export interface LayerMemory {
  readonly input: number;
  readonly output: number;
  /** Put aside for dL/dx, in any pass that goes back. */
  readonly keptForInput: number;
  /** Put aside for the parameters' gradients alone. */
  readonly keptForParameters: number;
}

/** Most values per sample that a pass holds at once. */
export function peakOfPass(layers: readonly LayerMemory[], purpose: PassPurpose): number {
  let kept = 0;
  let peak = 0;
  for (const layer of layers) {
    peak = Math.max(peak, kept + layer.input + layer.output);
    kept += keptBy(layer, purpose);
  }
  for (const layer of purpose === "logits" ? [] : [...layers].reverse()) {
    peak = Math.max(peak, kept + layer.input + layer.output);
    kept -= keptBy(layer, purpose);
  }
  return peak;
}

function keptBy({ keptForInput, keptForParameters }: LayerMemory, purpose: PassPurpose): number {
  if (purpose === "logits") return 0;
  return keptForInput + (purpose === "update" ? keptForParameters : 0);
}

export function numValues(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
