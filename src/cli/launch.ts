/** `isoerg launch`: starts a run where it is to be computed, and follows it from here: on Kubernetes, or on machines over ssh. */
import { Command, Option } from "commander";
import { addK8sOptions } from "./k8s/options.js";
import { addClusterOptions, type KubernetesFlags, launchOnKubernetes } from "./launch/kubernetes.js";
import { addSshOptions, launchOverSsh, type SshFlags } from "./launch/ssh.js";
import { groupOf, refuseStray } from "./option-groups.js";

/** Options of both places, and what they mean in both. */
const SHARED: Readonly<Record<string, string>> = {
  minWorkers: "go on while so many worker processes are left",
  joinTimeout: "seconds that the start waits for all workers (default: 1800, over ssh 300)",
  insecure: "plaintext between the processes (default: mutual TLS, with certificates and join token from Secrets, or made for the run)",
};

export function launchCommand(): Command {
  const command = new Command("launch")
    .description("Start a run on other machines and follow it: progress, what goes wrong, the log of the first failure, an exit code.")
    .argument("<config>", "a ready-made experiment's name, or a YAML file")
    .argument("[settings...]", "key=value, over the file's")
    .addOption(new Option("--on <place>", "where").choices(["kubernetes", "ssh"]).makeOptionMandatory());
  const ofKubernetes = groupOf(command, "On Kubernetes:", (own) =>
    addK8sOptions(addClusterOptions(own.option("--dry-run", "print the objects, ask no cluster"))),
  );
  const ofSsh = groupOf(command, "Over ssh:", addSshOptions);
  for (const option of command.options) {
    const description = SHARED[option.attributeName()];
    if (description !== undefined) option.helpGroup("Options:").description = description;
  }
  const others = {
    ssh: new Set([...ofKubernetes].filter((option) => !(option in SHARED))),
    kubernetes: ofSsh,
  };
  return command
    .addHelpText(
      "after",
      "\nOn Kubernetes Ctrl-C ends the following, not the run; the same command follows it again. Over ssh this process leads the run: Ctrl-C saves" +
        "\nand ends it, and the same command goes on." +
        "\n\nExample:\n  $ isoerg launch jdat --on kubernetes --image registry.local/isoerg:cuda --workers 4 --gpus 8" +
        "\n  $ isoerg launch jdat --on ssh --hosts hosts.txt --device cuda --run runs/jdat",
    )
    .action(async (source: string, settings: string[], flags: KubernetesFlags & SshFlags & { readonly on: "kubernetes" | "ssh" }) => {
      refuseStray(command, others[flags.on], flags.on);
      if (flags.on === "kubernetes") return launchOnKubernetes(source, settings, flags);
      const hasThreads = command.getOptionValueSource("threads") === "cli";
      return launchOverSsh(source, settings, { ...flags, threads: hasThreads ? flags.threads : null });
    });
}
