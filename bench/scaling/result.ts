/** All that one `isoerg bench scaling` measured and predicted: what --json writes, what the page shows, what --from reads again. */
import type { Machine } from "../../src/util/machine.js";
import type { Measured } from "./measure.js";
import { efficiencyOf, type ScalingPoint } from "./points.js";
import { type Assumptions, type Extrapolation, extrapolate, type Fitted, fitModel, type Network } from "./predict.js";

export interface Origin {
  readonly isoerg: string;
  readonly commit: string | null;
  readonly date: string;
  readonly machine: Machine;
  /** The command that was run. */
  readonly command: string;
  /** Of each worker. */
  readonly threads: number;
}

export interface ScalingResult {
  readonly origin: Origin;
  /** The measured experiment. */
  readonly network: Network;
  readonly measured: Measured;
  readonly fitted: Fitted;
  readonly assumptions: Assumptions;
  readonly networks: readonly Network[];
  readonly extrapolations: readonly Extrapolation[];
  /** The link whose predictions are simulated as well, in Gb/s. */
  readonly simulateOn: number;
}

/** Fits, tests and extrapolates what was measured. */
export function analyse(options: {
  readonly origin: Origin;
  readonly network: Network;
  readonly measured: Measured;
  readonly assumptions: Assumptions;
  readonly networks: readonly Network[];
}): ScalingResult {
  const { network, measured, assumptions, networks } = options;
  const fitted = fitModel(measured, network);
  const { links } = assumptions;
  const simulateOn = links.includes(100) ? 100 : (links.at(-1) as number);
  return { ...options, fitted, extrapolations: extrapolate(fitted, network, networks, assumptions, { simulateOn }), simulateOn };
}

/** Points of one mode with their efficiencies, by workers. */
export function withEfficiency(points: readonly ScalingPoint[], mode: ScalingPoint["mode"]) {
  const of = points.filter((point) => point.mode === mode);
  const first = of.find(({ workers }) => workers === 1);
  return first ? of.map((point) => ({ point, efficiency: efficiencyOf(point, first) })) : [];
}
