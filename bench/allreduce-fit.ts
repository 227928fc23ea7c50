/**
 * The constants of the cost model (src/collective/cost-model.ts) for this machine's network between processes: the algorithms of
 * streams (of ZeroMQ's ring, where there are none) are timed at many sizes and numbers of ranks, the longest vectors are held out, and the
 * fit has to predict them.
 */

import { canGoWhole } from "../src/collective/all-reduce.js";
import { type Algorithm, type CostConstants, fitCost, predictMs, type Timing } from "../src/collective/cost-model.js";
import { loadNativeStreams } from "../src/collective/native-streams.js";
import { type AllReduceBenchOptions, timeRanks } from "./allreduce.js";

export interface AllReduceFit {
  readonly constants: CostConstants;
  readonly timings: readonly Timing[];
  /** Of the vectors that the fit has not seen: predicted over measured time. */
  readonly heldOut: readonly { readonly timing: Timing; readonly ratio: number }[];
}

const LENGTHS = [64, 512, 4096, 16_384, 65_536, 262_144, 1_048_576];
const MAX_PAYLOAD_LENGTH = 1 << 18;

export async function fitAllReduce(options: AllReduceBenchOptions): Promise<AllReduceFit> {
  const { worldSizes = [2, 4], secondsPerSize = 0.5, signal, onTurn } = options;
  const timings: Timing[] = [];
  const way = (await loadNativeStreams()).ok ? "streams" : "zeromq";
  for (const worldSize of worldSizes) {
    for (const algorithm of algorithmsOf(way, worldSize)) {
      onTurn?.({ worldSize, round: 0, who: `isoerg (${algorithm})` });
      const place = { run: 1, generation: 1, rank: 0, worldSize };
      const lengths = LENGTHS.filter(
        (length) => algorithm !== "whole" || canGoWhole(length, { place, maxPayloadLength: MAX_PAYLOAD_LENGTH }),
      );
      const sizesBytes = lengths.map((length) => 4 * length);
      const timed = await timeRanks({ way, algorithm }, { worldSize, sizesBytes, seconds: secondsPerSize, ...(signal && { signal }) });
      for (const { sizeBytes, timesMs } of timed) {
        const sorted = [...timesMs].sort((a, b) => a - b);
        timings.push({ algorithm, worldSize, numValues: sizeBytes / 4, ms: sorted[sorted.length >> 1] as number });
      }
    }
  }
  const longest = Math.max(...LENGTHS);
  const constants = fitCost(timings.filter(({ numValues }) => numValues < longest));
  const heldOut = timings
    .filter(({ numValues }) => numValues === longest)
    .map((timing) => ({ timing, ratio: predictMs(timing.algorithm, timing.numValues, timing.worldSize, constants) / timing.ms }));
  return { constants, timings, heldOut };
}

/** Between two or three ranks halving does what the ring does. */
function algorithmsOf(way: "streams" | "zeromq", worldSize: number): readonly Algorithm[] {
  if (way === "zeromq") return ["ring", "whole"];
  return worldSize >= 4 ? ["ring", "doubling", "halving"] : ["ring", "doubling"];
}

export function formatAllReduceFit({ constants, timings, heldOut }: AllReduceFit): string {
  const { latencyUs, perValueNs, perSumNs } = constants;
  const errors = timings
    .map((of) => Math.abs(predictMs(of.algorithm, of.numValues, of.worldSize, constants) / of.ms - 1))
    .sort((a, b) => a - b);
  const lines = [
    `latency ${latencyUs.toFixed(1)} us a message, ${perValueNs.toFixed(3)} ns a float32 on its way, ${perSumNs.toFixed(3)} ns an addition`,
    `${timings.length} timings, median error of the model ${(100 * (errors[errors.length >> 1] as number)).toFixed(0)} %`,
    ...heldOut.map(
      ({ timing, ratio }) =>
        `held out: ${describe(timing.algorithm)} of ${timing.numValues} values over ${timing.worldSize} ranks, predicted / measured ${ratio.toFixed(2)}`,
    ),
    `communication.cost={latencyUs: ${latencyUs.toFixed(1)}, perValueNs: ${perValueNs.toFixed(3)}, perSumNs: ${perSumNs.toFixed(3)}}`,
  ];
  return lines.join("\n");
}

function describe(algorithm: Algorithm): string {
  return algorithm === "whole" ? "the whole vector" : `the ${algorithm}`;
}
