/** The result as text for a terminal: what was measured first, then how well the model predicts, then what it says of other clusters. */
import { textTable } from "../../src/cli/text-table.js";
import type { ControlPlanePoint } from "./control-plane.js";
import type { Breakdown, Ratio } from "./points.js";
import { type ScalingResult, withEfficiency } from "./result.js";

export const PARTS: readonly (readonly [keyof Breakdown, string])[] = [
  ["dataWait", "data wait"],
  ["augment", "augmentation"],
  ["attack", "attack"],
  ["sampling", "sampling"],
  ["gradient", "gradient"],
  ["exposedCommunication", "exposed communication"],
  ["stragglers", "waiting for slower workers"],
  ["vote", "vote"],
  ["optimizer", "optimizer"],
];

export function renderScaling(result: ScalingResult): string {
  const { measured, fitted, assumptions } = result;
  const parts = ["MEASURED\n", ...(["weak", "strong"] as const).map((mode) => modeTable(result, mode)), sumsTable(result)];
  if (measured.recovery) parts.push(`${recoveryText(result)}\n`);
  if (measured.control.length > 0) parts.push(renderControlPlane(measured.control));
  parts.push(
    "MODEL: fitted without the held-out points\n",
    textTable([
      ["point", "measured ms", "predicted ms", "error", ""],
      ...fitted.predictions.map(({ point, measuredMs, predictedMs, error, heldOut }) => [
        `${point.mode}, ${point.workers} x ${Math.round(point.samplesPerWorker)} samples`,
        ms(measuredMs),
        ms(predictedMs),
        signedPercent(error),
        heldOut ? "held out" : "",
      ]),
    ]),
    `EXTRAPOLATED, not measured: weak scaling, ${assumptions.workersPerHost} workers a host, efficiency by link\n`,
    ...result.networks.map(({ name, numParameters, samplesPerWorker }) => {
      const of = result.extrapolations.filter(({ network }) => network === name);
      const { links } = assumptions;
      return `${name}: ${(numParameters / 1e6).toFixed(2)} M parameters, ${samplesPerWorker} samples a worker\n${textTable([
        ["workers", ...links.map((link) => `${link} Gb/s`), `goodput (${result.simulateOn} Gb/s)`],
        ...assumptions.workers.map((workers) => [
          String(workers),
          ...links.map((link) => percent(of.find((e) => e.workers === workers && e.gigabitsPerSecond === link)?.efficiency)),
          percent(of.find((e) => e.workers === workers && e.gigabitsPerSecond === result.simulateOn)?.goodput),
        ]),
      ])}`;
    }),
  );
  return parts.filter((part) => part !== "").join("\n");
}

function modeTable({ measured }: ScalingResult, mode: "weak" | "strong"): string {
  const rows = withEfficiency(measured.points, mode);
  if (rows.length === 0) return "";
  const head = [
    "workers",
    "batch",
    "ms",
    "p95",
    "p99",
    "alone ms",
    "independent ms",
    "efficiency",
    "of T(1) without link",
    "ideal",
    "of ideal",
    "at most, in step",
  ];
  const times = textTable([
    [`${mode} scaling: ${head[0]}`, ...head.slice(1)],
    ...rows.map(({ point: { workers, batchSize, run, solo, independent, inTurn }, efficiency }) => [
      String(workers),
      String(batchSize),
      ...[run.stepMs.typical, run.stepMs.p95, run.stepMs.p99, solo.stepMs.typical, independent.stepMs.typical].map(ms),
      ...[efficiency.withStack, efficiency.withoutStack, efficiency.ideal].map(percent),
      withError(inTurn),
      percent(efficiency.inStep),
    ]),
  ]);
  const breakdown = textTable([
    ["ms a step, mean of the workers", ...rows.map(({ point }) => `${point.workers}`)],
    ...PARTS.map(([part, name]) => [`  ${name}`, ...rows.map(({ point }) => ms(point.run.breakdown[part]))]),
  ]);
  return `${times}\n${breakdown}`;
}

function sumsTable({ measured }: ScalingResult): string {
  if (measured.sums.length === 0) return "";
  return textTable([
    ["sums in shared memory: workers", "values", "ms", "p95", "bus GB/s", "of one thread's copy"],
    ...measured.sums.map(({ workers, numValues, p50Ms, p95Ms, busGigabytesPerSecond }) => [
      String(workers),
      numValues.toLocaleString("en-US"),
      ms(p50Ms),
      ms(p95Ms),
      busGigabytesPerSecond.toFixed(2),
      percent(busGigabytesPerSecond / measured.copyGigabytesPerSecond),
    ]),
  ]);
}

/** One sentence. */
export function recoveryText({ measured: { recovery } }: ScalingResult): string {
  if (!recovery) return "";
  const { workers, recoveryMs, stallMs, numSteps, goodput } = recovery;
  return `One of ${workers} workers killed: the others began the step again ${ms(recoveryMs)} ms later, ${ms(stallMs)} ms after the last commit; ${numSteps} steps took ${percent(1 / goodput)} of what they would have taken with all.`;
}

export function renderControlPlane(points: readonly ControlPlanePoint[]): string {
  return textTable([
    [
      "control plane: workers",
      "batch",
      "computing ms",
      "commit p50 ms",
      "p95",
      "p99",
      "step ms",
      "CPU ms a step",
      "of a core",
      "memory",
      "samples",
    ],
    ...points.map(({ workers, batchSize, computeMs, commitMs, stepMs, coordinator, feed, megabytesPerSecond }) => [
      String(workers),
      String(batchSize),
      String(computeMs),
      ...[commitMs.p50, commitMs.p95, commitMs.p99, stepMs.p50, coordinator.cpuMsPerStep].map(ms),
      `${(100 * coordinator.cpuShare).toFixed(1)} %`,
      `${Math.round(coordinator.peakRssBytes / 1e6)} MB`,
      feed ? `${megabytesPerSecond.toFixed(1)} MB/s` : "not sent",
    ]),
  ]);
}

export const ms = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 0.001 ? value.toPrecision(3) : value === 0 ? "0" : "< 0.001";
/** With its standard error, where that is known. */
export const withError = ({ mean, standardError }: Ratio): string =>
  standardError === null ? percent(mean) : `${(100 * mean).toFixed(1)} ± ${(100 * standardError).toFixed(1)} %`;
export const percent = (share: number | undefined): string => (share === undefined ? "" : `${(100 * share).toFixed(1)} %`);
export const signedPercent = (share: number): string => `${share >= 0 ? "+" : ""}${(100 * share).toFixed(1)} %`;
