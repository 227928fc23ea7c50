// @ts-check
/** Specs of the suite that don't count as passed, and why: those that are expected to fail, and those that never run. */

/**
 * Expected to fail. At most five; each is a choice, not a gap.
 * @type {readonly { spec: string, reason: string }[]}
 */
export const exclusions = [
  {
    spec: "maxPool torch {} [x=[3,3,1] f=[2,2] s=1 ignores NaNs",
    reason: "ATen's max pooling propagates NaN, which shows divergence instead of hiding it",
  },
  {
    spec: "maxPool3d torch {} x=[1,3,3,3,1] f=[2,2,2] s=1 p=valid, ignores NaNs",
    reason: "as for maxPool",
  },
  {
    spec: "avgPool torch {} gradient x=[3,3,1] f=[3,3] s=1 p=explicit",
    reason:
      "the spec's gradient divides by the window's size while its forward divides by the pixels covered; ours is the gradient of the forward",
  },
  {
    spec: "conv2dTranspose torch {} input=8x8x8,output=4x4x8,f=8,s=1,inDepth=8,p=same vec4",
    reason: "a filter larger than its image: oneDNN has no descriptor for it",
  },
];

/**
 * What tfjs-core itself has switched off (`xit`): they run on no backend, its own included, and none is of a kernel.
 * @type {readonly { spec: string, reason: string }[]}
 */
export const pending = [
  { spec: "IS_BROWSER isBrowser: true", reason: "of a flag of the environment, not of a backend" },
  { spec: "IS_BROWSER isBrowser: false", reason: "of a flag of the environment, not of a backend" },
  {
    spec: "kernel_registry torch {} errors when registering the same kernel twice",
    reason: "registering a kernel twice has been allowed since: tfjs-core warns",
  },
  { spec: "gradient registry torch {} warning when registering the same gradient twice", reason: "the same, for gradients" },
  {
    spec: "debug on torch {} A x B",
    reason: "a product of two matrices with debugging on; the same product without it is among those that pass",
  },
];
