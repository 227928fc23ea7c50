/** `isoerg k8s render`: an experiment as Kubernetes objects, to be read, kept and applied with kubectl or by a GitOps controller. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { loadConfig } from "../config/load.js";
import { renderObjects } from "../k8s/objects.js";
import { toFiles, toYamlStream } from "../k8s/write.js";
import { addK8sOptions, type K8sFlags, k8sOptionsOf } from "./k8s/options.js";

export const GENERATED = "Written by `isoerg k8s render`; a change here is lost when it runs again.";

export function k8sCommand(): Command {
  const render = addK8sOptions(new Command("render"))
    .description("Write the objects of a run: coordinator, workers, network policies, volumes.")
    .argument("<config>", "a ready-made experiment's name, or a YAML file")
    .argument("[settings...]", "key=value, over the file's")
    .option("--out <dir>", "write a file an object and a kustomization.yaml there (default: everything to the terminal)")
    .addHelpText(
      "after",
      "\nExample:\n  $ isoerg k8s render jdat --image registry.local/isoerg:cuda --workers 4 --gpus 8 --out manifests\n  $ kubectl apply --server-side -k manifests",
    )
    .action((source: string, settings: string[], flags: K8sFlags & { readonly out?: string }) => {
      const { config } = loadConfig({ source, overrides: settings });
      const objects = renderObjects(config, k8sOptionsOf(config, flags));
      if (flags.out === undefined) {
        process.stdout.write(toYamlStream(objects));
        return;
      }
      mkdirSync(flags.out, { recursive: true });
      for (const { name, text } of toFiles(objects, GENERATED)) writeFileSync(join(flags.out, name), text);
      process.stderr.write(
        `wrote ${objects.length} objects to ${flags.out}; apply them with: kubectl apply --server-side -k ${flags.out}\n`,
      );
    });
  return new Command("k8s").description("Runs on Kubernetes.").addCommand(render);
}
