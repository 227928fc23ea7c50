/** `isoerg launch --on kubernetes`: applies a run's objects to a cluster and follows it. */
import type { Command } from "commander";
import { loadConfig } from "../../config/load.js";
import { Cluster } from "../../k8s/launch/cluster.js";
import { launch } from "../../k8s/launch/launch.js";
import { renderObjects } from "../../k8s/objects.js";
import { describePrerequisites } from "../../k8s/prerequisites.js";
import { toYamlStream } from "../../k8s/write.js";
import { type K8sFlags, k8sOptionsOf } from "../k8s/options.js";
import { onStopSignals } from "../stop-signals.js";

export interface ClusterFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
}

export interface KubernetesFlags extends K8sFlags, ClusterFlags {
  readonly dryRun?: true;
}

export function addClusterOptions(command: Command): Command {
  return command
    .option("--kubeconfig <file>", "how to reach the cluster (default: KUBECONFIG, then ~/.kube/config)")
    .option("--context <name>", "context of the kubeconfig (default: the current one)");
}

/** @throws IsoergError USAGE where no cluster is named */
export function clusterOf({ kubeconfig, context }: ClusterFlags, namespace: string | null): Cluster {
  return new Cluster({ namespace, ...(kubeconfig !== undefined && { kubeconfig }), ...(context !== undefined && { context }) });
}

export async function launchOnKubernetes(source: string, settings: readonly string[], flags: KubernetesFlags): Promise<void> {
  const { config } = loadConfig({ source, overrides: [...settings] });
  const options = k8sOptionsOf(config, flags);
  const objects = renderObjects(config, options);
  if (flags.dryRun) {
    process.stdout.write(toYamlStream(objects));
    return;
  }
  const cluster = clusterOf(flags, options.namespace);
  const wish = new AbortController();
  const forget = onStopSignals({ first: () => wish.abort() });
  try {
    const say = (text: string): void => void process.stderr.write(`${text}\n`);
    process.stderr.write(describePrerequisites(objects));
    await launch({ cluster, name: options.name, objects, say, signal: wish.signal });
  } finally {
    forget();
  }
}
