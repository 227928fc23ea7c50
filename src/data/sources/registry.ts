/** The data sets that `isoerg data prepare` knows by name. To add one: one file beside this, one line here. */
import { IsoergError } from "../../util/error.js";
import { didYouMean } from "../../util/nearest.js";
import { createCifar10 } from "./cifar10.js";
import { createMnist } from "./mnist.js";
import type { Source } from "./source.js";

export const sources: readonly Source[] = [createCifar10(), createMnist()];

/** @throws IsoergError USAGE for a name that is none. */
export function sourceNamed(name: string): Source {
  const names = sources.map((source) => source.name);
  const source = sources.find((candidate) => candidate.name === name);
  if (source !== undefined) return source;
  throw new IsoergError("USAGE", `unknown data set '${name}'${didYouMean(name, names)}`, { hint: `data sets: ${names.join(", ")}` });
}
