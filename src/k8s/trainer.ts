/**
 * A run as a TrainJob of Kubeflow Trainer v2 (trainer.kubeflow.org/v1alpha1): a ClusterTrainingRuntime with no framework's policy,
 * which is the plain one, since isoerg's coordinator hands out ranks itself, and a TrainJob that names it.
 */
import type { KubernetesObject } from "@kubernetes/client-node";
import type { Config } from "../config/schema.js";
import { jobSetSpec } from "./jobset.js";
import { labelsOf } from "./names.js";
import { asManifests, foundation, type Manifest } from "./objects.js";
import type { K8sOptions } from "./options.js";

/** Trainer looks for the trainer's pods by this label, and in them for a container called `node`. */
const ANCESTOR = { "trainer.kubeflow.org/trainjob-ancestor-step": "trainer" };
const NODE = "node";

export function trainerObjects(options: K8sOptions, config: Config): readonly (KubernetesObject & { readonly spec: object })[] {
  const { name, queue, workers } = options;
  const runtime = `isoerg-${name}`;
  return [
    {
      apiVersion: "trainer.kubeflow.org/v1alpha1",
      kind: "ClusterTrainingRuntime",
      metadata: { name: runtime, labels: { ...labelsOf(name), "trainer.kubeflow.org/framework": "isoerg" } },
      spec: {
        mlPolicy: { numNodes: workers },
        template: { spec: jobSetSpec(options, config, { workers: NODE, container: NODE, workersLabels: ANCESTOR }) },
      },
    },
    {
      apiVersion: "trainer.kubeflow.org/v1alpha1",
      kind: "TrainJob",
      metadata: { name, labels: { ...labelsOf(name), ...(queue !== null && { "kueue.x-k8s.io/queue-name": queue }) } },
      spec: {
        ...(queue !== null && { suspend: true }),
        runtimeRef: { apiGroup: "trainer.kubeflow.org", kind: "ClusterTrainingRuntime", name: runtime },
        trainer: { numNodes: workers },
      },
    },
  ];
}

export function renderTrainJob(config: Config, options: K8sOptions): readonly Manifest[] {
  const objects = asManifests(options, [...foundation(config, options), ...trainerObjects(options, config)]);
  return objects.map((object) => (object.kind === "ClusterTrainingRuntime" ? withoutNamespace(object) : object));
}

function withoutNamespace({ metadata, ...object }: Manifest): Manifest {
  const { namespace: _, ...others } = metadata;
  return { ...object, metadata: others };
}
