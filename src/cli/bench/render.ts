/** Figures of `isoerg bench` as text: a few lines a case while it goes on, and one table at the end. */
import type { CaseResult, Figures } from "../../../bench/step/measure.js";
import { textTable } from "../text-table.js";

/** One case, in full. */
export function renderPart(result: CaseResult): string {
  const { summary, threads, precision, isoerg, peer, peerFp32 } = result;
  const lines = [`${result.case}: ${summary}; ${threads} thread${threads === 1 ? "" : "s"}, inner loops in ${precision}`, describe(isoerg)];
  if (peer) lines.push(describe(peer));
  if (peerFp32) lines.push(describe({ ...peerFp32, program: `${peerFp32.program} in fp32` }));
  return `${lines.join("\n")}\n`;
}

/** All cases, one a line. */
export function renderResults(results: readonly CaseResult[]): string {
  const hasPeer = results.some(({ peer }) => peer !== null);
  const head = [
    "step",
    "threads",
    "inner",
    "ms",
    "images/s",
    "of peak",
    "memory",
    ...(hasPeer ? ["peer ms", "peer memory", "speed ratio", "to fp32"] : []),
  ];
  const rows = results.map(({ case: name, threads, precision, isoerg, peer, ratio, ratioToFp32 }) => [
    name,
    String(threads),
    precision,
    milliseconds(isoerg.stepMs.median),
    isoerg.imagesPerSecond.toPrecision(3),
    isoerg.shareOfPeak === null ? "" : percent(isoerg.shareOfPeak),
    megabytes(isoerg.peakRssBytes),
    ...(peer && ratio !== null
      ? [
          milliseconds(peer.stepMs.median),
          megabytes(peer.peakRssBytes),
          `${ratio.toFixed(2)} x`,
          ratioToFp32 === null ? "" : `${ratioToFp32.toFixed(2)} x`,
        ]
      : []),
  ]);
  return textTable([head, ...rows]);
}

function describe({ program, stepMs, partsMs, opsPerStep, peakGflops, shareOfPeak }: Figures): string {
  const parts = Object.entries(partsMs)
    .filter(([, ms]) => ms >= 0.005 * stepMs.median)
    .map(([part, ms]) => `${part} ${milliseconds(ms)}`);
  const spread = `median of ${stepMs.count}, ${milliseconds(stepMs.min)} to ${milliseconds(stepMs.max)}`;
  const launches = opsPerStep === null ? "" : `; ${opsPerStep} operations`;
  const peak = shareOfPeak === null || peakGflops === null ? "" : `; ${percent(shareOfPeak)} of ${peakGflops.toFixed(0)} GFLOP/s`;
  return `  ${program}: ${milliseconds(stepMs.median)} ms (${spread})${launches}${peak}\n    ${parts.join(", ")}`;
}

const milliseconds = (ms: number) => (ms >= 100 ? ms.toFixed(0) : ms.toPrecision(3));
const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
