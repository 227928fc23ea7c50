/** All objects of one run, in the order in which they are applied: a pure function of the experiment and the options. */
import type { KubernetesObject, V1ConfigMap, V1ServiceAccount } from "@kubernetes/client-node";
import { configToYaml } from "../config/print.js";
import type { Config } from "../config/schema.js";
import { IsoergError } from "../util/error.js";
import { isLocator } from "../util/locator.js";
import { claims, coordinatorJob, coordinatorService } from "./coordinator.js";
import { labelsOf } from "./names.js";
import { networkPolicies } from "./network-policy.js";
import type { K8sOptions } from "./options.js";
import { workersBudget, workersJob, workersService } from "./workers.js";

/** As it is written and sent: plain JSON, in the field names of the API. */
export type Manifest = KubernetesObject & {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
};

export function renderObjects(config: Config, options: K8sOptions): readonly Manifest[] {
  return asManifests(options, [
    ...foundation(config, options),
    coordinatorService(options),
    workersService(options),
    coordinatorJob(options, config.data.path),
    workersJob(options),
  ]);
}

/**
 * What every way of running pods stands on: account, experiment, volumes, network, disruption budget.
 * @throws IsoergError CONFIG for data or checkpoints outside the run's own claims
 */
export function foundation(config: Config, options: K8sOptions): readonly KubernetesObject[] {
  refuseOtherPlaces(config);
  return [serviceAccount(options), experiment(config, options), ...claims(options), ...networkPolicies(options), workersBudget(options)];
}

/** The network policies let nothing leave the run's pods, and no object here carries a bucket's credentials or a shared volume. */
function refuseOtherPlaces({ data, checkpoint }: Config): void {
  for (const [key, place] of [
    ["data.path", data.path],
    ["checkpoint.path", checkpoint.path],
  ] as const) {
    if (place === null || !isLocator(place)) continue;
    throw new IsoergError(
      "CONFIG",
      `${key}: a run that is rendered for Kubernetes has its data and checkpoints on its claims, not at ${place}`,
      {
        hint: key === "data.path" ? "Give the data set's path on the data claim, as data/cifar10." : "Leave checkpoint.path out.",
      },
    );
  }
}

/** Sets the namespace, and turns the client library's names of fields (`_from`) into those of the API. */
export function asManifests(options: Pick<K8sOptions, "namespace">, objects: readonly KubernetesObject[]): readonly Manifest[] {
  const { namespace } = options;
  return objects.map((object) => {
    const plain = JSON.parse(JSON.stringify(object), (_key, value: unknown) => {
      if (typeof value !== "object" || value === null || !("_from" in value)) return value;
      const { _from, ...others } = value;
      return { from: _from, ...others };
    }) as Manifest;
    return namespace === null ? plain : { ...plain, metadata: { ...plain.metadata, namespace } };
  });
}

/** Nothing in a run speaks to the API server. */
export function serviceAccount({ name }: K8sOptions): V1ServiceAccount {
  return {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name, labels: labelsOf(name) },
    automountServiceAccountToken: false,
  };
}

function experiment(config: Config, { name }: K8sOptions): V1ConfigMap {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: `${name}-experiment`, labels: labelsOf(name) },
    data: { "experiment.yaml": configToYaml(config) },
  };
}
