/** Names, labels, ports and folders that the objects of one run agree on. */
import type { V1LabelSelector } from "@kubernetes/client-node";

export const COORDINATOR_PORT = 7070;
export const HEALTH_PORT = 7071;
export const METRICS_PORT = 9090;
/** Workers' health ports: one a process of a pod, above the coordinator's. */
export const WORKER_HEALTH_START = 7080;

/** Workers' data ports: from here on, so many for each process of a pod. */
export const DATA_PORTS_START = 7100;
const DATA_PORTS_PER_PROCESS = 16;

export const EXPERIMENT_FILE = "/etc/isoerg/experiment.yaml";
export const TLS_FOLDER = "/etc/isoerg-tls";
export const TOKEN_FOLDER = "/etc/isoerg-token";
/** The images' working folder: `data/...` and `runs/...` of an experiment are below it. */
export const WORKSPACE = "/workspace";

export type Component = "coordinator" | "worker" | "trial";

export function labelsOf(name: string, component?: Component): Record<string, string> {
  return {
    "app.kubernetes.io/name": "isoerg",
    "app.kubernetes.io/instance": name,
    ...(component !== undefined && { "app.kubernetes.io/component": component }),
  };
}

export function selectorOf(name: string, component?: Component): V1LabelSelector {
  return { matchLabels: labelsOf(name, component) };
}

/** Data ports of the k-th process of a pod, as `--data-ports` takes them. */
export function dataPortsOf(process: number): string {
  const first = DATA_PORTS_START + process * DATA_PORTS_PER_PROCESS;
  return `${first}-${first + DATA_PORTS_PER_PROCESS - 1}`;
}

/** The last data port of a pod with so many processes. */
export function lastDataPort(processes: number): number {
  return DATA_PORTS_START + processes * DATA_PORTS_PER_PROCESS - 1;
}

export function coordinatorName(name: string): string {
  return `${name}-coordinator`;
}

export function workersName(name: string): string {
  return `${name}-workers`;
}
