/** A number of the experiment in pixels, [0,1]: `0.03`, or a fraction such as `8/255`. */
import { z } from "zod";

const FRACTION = /^\s*(-?\d+(?:\.\d+)?)\s*\/\s*(\d+(?:\.\d+)?)\s*$/;

/** A number, or a fraction such as "8/255". */
export const pixels = z.preprocess((value) => {
  const match = typeof value === "string" ? FRACTION.exec(value) : null;
  return match ? Number(match[1]) / Number(match[2]) : value;
}, z.number().finite());
