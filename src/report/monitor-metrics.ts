/** What a monitor has seen, as Prometheus reads it: text exposition format 0.0.4, for an endpoint or node_exporter's textfile collector. */
import type { BatchRecord } from "../evaluate/monitor/monitor.js";
import { describeFamily, type Family } from "./prometheus.js";

export interface MonitorTotals {
  readonly model: string;
  readonly batches: number;
  readonly alarms: number;
  readonly samples: number;
  /** Of samples that came too few for a batch. */
  readonly skipped: number;
  readonly last: BatchRecord | null;
  /** Unix time of the last batch in seconds; null before the first. */
  readonly lastAt: number | null;
}

export function monitorMetrics(totals: MonitorTotals): string {
  const model = { model: totals.model };
  const one = (name: string, type: Family["type"], help: string, value: number | null | undefined): Family => ({
    name,
    type,
    help,
    samples: value === null || value === undefined ? [] : [{ labels: model, value }],
  });
  const { last } = totals;
  const perStatistic = (name: string, help: string, values: BatchRecord["drift"] | undefined): Family => ({
    name,
    type: "gauge",
    help,
    samples: values
      ? (["psi", "ks", "wasserstein"] as const).map((statistic) => ({ labels: { ...model, statistic }, value: values[statistic] }))
      : [],
  });
  const quantiles = last
    ? ([
        ["0.05", last.energy.p05],
        ["0.5", last.energy.p50],
        ["0.95", last.energy.p95],
      ] as const)
    : [];
  const families: Family[] = [
    one("isoerg_monitor_batches_total", "counter", "Batches of new data that were compared with the reference.", totals.batches),
    one("isoerg_monitor_alarms_total", "counter", "Batches that raised a drift alarm.", totals.alarms),
    one("isoerg_monitor_samples_total", "counter", "Samples in those batches.", totals.samples),
    one("isoerg_monitor_skipped_samples_total", "counter", "Samples that were too few for a batch.", totals.skipped),
    one("isoerg_monitor_drift", "gauge", "1 while the last batch raised an alarm.", last ? Number(last.reasons.length > 0) : null),
    one("isoerg_monitor_alarms_in_a_row", "gauge", "Alarms of the latest batches without one between.", last?.alarmsInARow),
    perStatistic("isoerg_monitor_statistic", "Distance of the last batch's energies to the reference.", last?.drift),
    perStatistic("isoerg_monitor_threshold", "Bootstrap threshold of the distance.", last?.thresholds),
    one("isoerg_monitor_energy_mean", "gauge", "Mean energy of the last batch.", last?.energy.mean),
    {
      name: "isoerg_monitor_energy",
      type: "gauge",
      help: "Quantiles of the last batch's energies.",
      samples: quantiles.map(([quantile, value]) => ({ labels: { ...model, quantile }, value })),
    },
    one("isoerg_monitor_energy_shift", "gauge", "Mean energy of the last batch less the reference's.", last?.shift),
    one(
      "isoerg_monitor_above_reference_ratio",
      "gauge",
      "Share of the last batch above 99 % of the reference's energies.",
      last?.aboveReference,
    ),
    one("isoerg_monitor_decision_psi", "gauge", "Population stability index of the decided classes.", last?.decisionPsi),
    one("isoerg_monitor_last_batch_timestamp_seconds", "gauge", "When the last batch was judged.", totals.lastAt),
  ];
  return families
    .filter(({ samples }) => samples.length > 0)
    .map(describeFamily)
    .join("");
}
