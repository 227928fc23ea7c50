/** `isoerg launch`: starts a run where it is to be computed, and follows it from here. Kubernetes is the place so far. */
import { Command, Option } from "commander";
import { loadConfig } from "../config/load.js";
import { Cluster } from "../k8s/launch/cluster.js";
import { launch } from "../k8s/launch/launch.js";
import { renderObjects } from "../k8s/objects.js";
import { toYamlStream } from "../k8s/write.js";
import { addK8sOptions, type K8sFlags, k8sOptionsOf } from "./k8s/options.js";

interface Flags extends K8sFlags {
  readonly on: "kubernetes";
  readonly dryRun?: true;
  readonly kubeconfig?: string;
  readonly context?: string;
}

export function launchCommand(): Command {
  return addK8sOptions(new Command("launch"))
    .description("Start a run on a cluster and follow it: progress, what goes wrong, the log of the first failure, an exit code.")
    .argument("<config>", "a ready-made experiment's name, or a YAML file")
    .argument("[settings...]", "key=value, over the file's")
    .addOption(new Option("--on <place>", "where").choices(["kubernetes"]).makeOptionMandatory())
    .option("--kubeconfig <file>", "how to reach the cluster (default: KUBECONFIG, then ~/.kube/config)")
    .option("--context <name>", "context of the kubeconfig (default: the current one)")
    .option("--dry-run", "print the objects, ask no cluster")
    .addHelpText(
      "after",
      "\nCtrl-C ends the following, not the run; the same command follows it again.\n" +
        "\nExample:\n  $ isoerg launch jdat --on kubernetes --image registry.local/isoerg:cuda --workers 4 --gpus 8",
    )
    .action(async (source: string, settings: string[], flags: Flags) => {
      const { config } = loadConfig({ source, overrides: settings });
      const options = k8sOptionsOf(config, flags);
      const objects = renderObjects(config, options);
      if (flags.dryRun) {
        process.stdout.write(toYamlStream(objects));
        return;
      }
      const cluster = new Cluster({
        namespace: options.namespace,
        ...(flags.kubeconfig !== undefined && { kubeconfig: flags.kubeconfig }),
        ...(flags.context !== undefined && { context: flags.context }),
      });
      const wish = new AbortController();
      const onSignal = (): void => wish.abort();
      process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
      try {
        await launch({
          cluster,
          name: options.name,
          objects,
          say: (text) => process.stderr.write(`${text}\n`),
          signal: wish.signal,
        });
      } finally {
        process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
      }
    });
}
