/** Complex numbers and Fourier transforms, over ATen's own complex type. */
import type { KernelConfig } from "@tensorflow/tfjs-core";
import { aten } from "../aten.js";
import { COMPLEX } from "../scalar-type.js";
import type { Value } from "../value.js";
import { cast, float } from "./convert.js";
import { kernel } from "./define.js";

const complexOf = aten("complex");
const viewAsReal = aten("view_as_real");
const select = aten("select.int");
const abs = aten("abs");
const fft = aten("fft_fft");
const ifft = aten("fft_ifft");

/** 0 the real, 1 the imaginary part: a view. */
function part(x: Value, which: 0 | 1): Value {
  return select(viewAsReal(x), -1, which);
}

export const complexes: readonly KernelConfig[] = [
  kernel<{ real: Value; imag: Value }>("Complex", ({ real, imag }) => complexOf(float(real), float(imag))),
  kernel<{ input: Value }>("Real", ({ input }) => part(input, 0)),
  kernel<{ input: Value }>("Imag", ({ input }) => part(input, 1)),
  kernel<{ x: Value }>("ComplexAbs", ({ x }) => abs(x)),
  kernel<{ input: Value }>("FFT", ({ input }) => fft(cast(input, COMPLEX))),
  kernel<{ input: Value }>("IFFT", ({ input }) => ifft(cast(input, COMPLEX))),
];
