/**
 * Where chains begin: uniform noise (JEM), one Gaussian over all data, or the Gaussian of a class (JEM++). A start is a
 * function of its stream key alone, drawn on the host, so that it is the same on every engine and at every world size.
 */
import { type ClassGaussians, createClassGaussianTransform } from "../data/class-gaussians.js";
import { pixelsOf, type SampleShape } from "../data/samples.js";
import { draws, fillNormal, fillUniform, type RowKey } from "../engine/random/philox.js";
import { invariant } from "../util/error.js";

/** `data` is an image of the step's batch (`data-start.ts`); outside of training there is none, and it means `class-gaussian` here. */
export type StartKind = "uniform" | "gaussian" | "class-gaussian" | "data";

/**
 * Writes one start into `out` [H*W*C], in [0,1], and tells its class: the one asked for, else that of the Gaussian, or one that
 * was drawn.
 */
export type Start = (out: Float32Array, key: RowKey, classIndex?: number) => { readonly classIndex: number };

// The class is drawn apart from the pixels, so callers number their draws below 2^23.
const CLASS_INNER = 2 ** 23;

export interface StartOptions {
  readonly kind: StartKind;
  readonly shape: SampleShape;
  readonly numClasses: number;
  /** Of the training split; needed by both Gaussian kinds. */
  readonly stats?: ClassGaussians;
  /** Draw only this class. */
  readonly classIndex?: number;
}

export function createStart(options: StartOptions): Start {
  const { kind, shape, numClasses, stats } = options;
  const size = pixelsOf(shape);
  const drawClass = (key: RowKey, wanted: number | undefined): number => {
    const { inner = 0 } = key;
    invariant(inner < CLASS_INNER, `inner step ${inner} of a chain's start is not below 2^23`);
    return wanted ?? options.classIndex ?? draws({ ...key, inner: inner + CLASS_INNER }).below(numClasses);
  };
  if (kind === "uniform") {
    return (out, key, wanted) => {
      invariant(out.length === size, `${out.length} values for a sample of ${size}`);
      fillUniform(out, key);
      return { classIndex: drawClass(key, wanted) };
    };
  }
  invariant(stats, `a start of kind '${kind}' without the data set's Gaussians`);
  invariant(stats.classes.length === numClasses && pixelsOf(stats.shape) === size, "Gaussians of another data set");
  const transform = createClassGaussianTransform(stats);
  return (out, key, wanted) => {
    const classIndex = drawClass(key, wanted);
    const component = kind === "gaussian" ? stats.all : stats.classes[classIndex];
    invariant(component, `class ${classIndex} of ${numClasses}`);
    fillNormal(out, key);
    transform(component, out);
    return { classIndex };
  };
}
