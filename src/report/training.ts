/** How a run was trained: in one line, as curves, and what its stability guard did. */
import { formatCount } from "../evaluate/format.js";
import { alarmsBlock } from "./alarms.js";
import { curvesSection } from "./curves.js";
import { type Html, html, NOTHING } from "./html.js";
import type { RunRecord, StepMetrics } from "./run-record.js";

export function trainingBlock(record: RunRecord): Html {
  return html`${trainingLine(record)}
${curvesSection(record.steps)}
${record.alarms === undefined ? NOTHING : alarmsBlock(record.alarms)}`;
}

function trainingLine({ steps }: RunRecord): Html {
  const first = steps[0];
  const last = steps.at(-1);
  if (!first || !last) return NOTHING;
  const seconds = (Date.parse(last.time) - Date.parse(first.time)) / 1000;
  const workers = [...new Set(steps.map(({ worldSize }) => worldSize))].sort((a, b) => a - b);
  return html`<p>${formatCount(last.step + 1)} steps, ${Number(last.epoch.toPrecision(3))} ${last.epoch === 1 ? "pass" : "passes"} over the data, ${workers.join(" to ")} ${workers.length === 1 && workers[0] === 1 ? "worker" : "workers"}, ${formatDuration(seconds)}.${phases(steps)}</p>`;
}

/** Where a step's time goes, on rank 0. */
function phases(steps: readonly StepMetrics[]): string {
  const totals = new Map<string, number>();
  for (const { phasesMs } of steps)
    for (const [name, ms] of Object.entries(phasesMs[0] ?? {})) totals.set(name, (totals.get(name) ?? 0) + ms);
  const all = [...totals.values()].reduce((sum, ms) => sum + ms, 0);
  if (all === 0) return "";
  const shares = [...totals].sort((a, b) => b[1] - a[1]).filter(([, ms]) => ms / all >= 0.005);
  return ` Time by phase: ${shares.map(([name, ms]) => `${name} ${Math.round((100 * ms) / all)} %`).join(", ")}.`;
}

function formatDuration(seconds: number): string {
  if (!(seconds >= 0)) return "unknown time";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
