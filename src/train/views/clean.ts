/** The labelled samples as augmented, and the same samples as they are in the data set: SADA-JEM models p(x) of the latter. */
import { imagesToTensor, type ViewMaker } from "./maker.js";

export const clean: ViewMaker = {
  provides: ["clean"],
  phase: "data",
  make: ({ clean: { images, total }, shape }) => ({ views: { clean: { x: imagesToTensor(images, shape), total } } }),
};

export const natural: ViewMaker = {
  provides: ["natural"],
  phase: "data",
  make: ({ clean: { natural: read, total }, shape }) => ({ views: { natural: { x: imagesToTensor(read(), shape), total } } }),
};
