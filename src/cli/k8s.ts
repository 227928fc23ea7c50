/** `isoerg k8s render`: an experiment as Kubernetes objects, to be read, kept and applied with kubectl or by a GitOps controller. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command, Option } from "commander";
import { loadConfig } from "../config/load.js";
import type { Config } from "../config/schema.js";
import { renderJobSet } from "../k8s/jobset.js";
import { type Manifest, renderObjects } from "../k8s/objects.js";
import type { K8sOptions } from "../k8s/options.js";
import { describePrerequisites } from "../k8s/prerequisites.js";
import { renderTrainJob } from "../k8s/trainer.js";
import { toFiles, toYamlStream } from "../k8s/write.js";
import { addK8sOptions, type K8sFlags, k8sOptionsOf } from "./k8s/options.js";

/** What a run may be made of: two Jobs, which need nothing but Kubernetes, or an object of a controller that a cluster has. */
export const FORMS: Readonly<Record<string, (config: Config, options: K8sOptions) => readonly Manifest[]>> = {
  jobs: renderObjects,
  jobset: renderJobSet,
  trainjob: renderTrainJob,
};

export const GENERATED = "Written by `isoerg k8s render`; a change here is lost when it runs again.";

export function k8sCommand(): Command {
  const render = addK8sOptions(new Command("render"))
    .description("Write the objects of a run: coordinator, workers, network policies, volumes.")
    .argument("<config>", "a ready-made experiment's name, or a YAML file")
    .argument("[settings...]", "key=value, over the file's")
    .optionsGroup("Options:")
    .addOption(new Option("--as <form>", "Jobs, a JobSet, or a TrainJob of Kubeflow Trainer").choices(Object.keys(FORMS)).default("jobs"))
    .option("--restart-job", "in a JobSet, make only the Job anew that failed (needs JobSet's feature gate RestartJob; default: the set)")
    .option("--out <dir>", "write a file an object and a kustomization.yaml there (default: everything to the terminal)")
    .addHelpText(
      "after",
      "\nSecrets and claims that the objects need and don't make are told with --out, and k8s/README.md has the commands for them. Data on the data" +
        "\nclaim are yours to put there." +
        "\n\nExample:\n  $ isoerg k8s render jdat --image registry.local/isoerg:cuda --workers 4 --gpus 8 --out manifests\n  $ kubectl apply --server-side -k manifests",
    )
    .action(
      (
        source: string,
        settings: string[],
        flags: K8sFlags & { readonly as: string; readonly restartJob?: true; readonly out?: string },
      ) => {
        const { config } = loadConfig({ source, overrides: settings });
        const objects = (FORMS[flags.as] ?? renderObjects)(config, {
          ...k8sOptionsOf(config, flags),
          restartJob: flags.restartJob === true,
        });
        if (flags.out === undefined) {
          process.stdout.write(toYamlStream(objects));
          return;
        }
        mkdirSync(flags.out, { recursive: true });
        for (const { name, text } of toFiles(objects, GENERATED)) writeFileSync(join(flags.out, name), text);
        process.stderr.write(
          `wrote ${objects.length} objects to ${flags.out}\n${describePrerequisites(objects)}` +
            `apply them with: kubectl apply --server-side -k ${flags.out}\n`,
        );
      },
    );
  return new Command("k8s")
    .description("Runs on Kubernetes.")
    .addCommand(render)
    .addHelpText("after", "\nExample:\n  $ isoerg k8s render quickstart --out manifests");
}
