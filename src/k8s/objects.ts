/** All objects of one run, in the order in which they are applied: a pure function of the experiment and the options. */
import type { KubernetesObject, V1ConfigMap, V1ServiceAccount } from "@kubernetes/client-node";
import { configToYaml } from "../config/print.js";
import type { Config } from "../config/schema.js";
import { claims, coordinatorJob, coordinatorService } from "./coordinator.js";
import { labelsOf } from "./names.js";
import { networkPolicies } from "./network-policy.js";
import type { K8sOptions } from "./options.js";
import { placePolicies, refuseIdle } from "./places/needs.js";
import { workersBudget, workersJob, workersService } from "./workers.js";

/** As it is written and sent: plain JSON, in the field names of the API. */
export type Manifest = KubernetesObject & {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
};

const MEMBERS = ["coordinator", "worker"] as const;

export function renderObjects(config: Config, options: K8sOptions): readonly Manifest[] {
  return asManifests(options, [
    ...foundation(config, options),
    coordinatorService(options),
    workersService(options),
    coordinatorJob(options, config),
    workersJob(options, config),
  ]);
}

/**
 * What every way of running pods stands on: account, experiment, volumes, network, disruption budget.
 * @throws IsoergError USAGE for data or checkpoints that the options don't lead to, and options that lead nowhere
 */
export function foundation(config: Config, options: K8sOptions): readonly KubernetesObject[] {
  refuseIdle(MEMBERS, config, options);
  return [
    serviceAccount(options),
    experiment(config, options),
    ...claims(options, config),
    ...networkPolicies(options),
    ...placePolicies(MEMBERS, config, options),
    workersBudget(options),
  ];
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

/**
 * The way back: the client library sends those fields that it knows by its own names, and leaves out all others without a word. A policy
 * whose rule has lost its `from` lets in everybody.
 */
export function asClientObject(object: Manifest): Manifest {
  if (object.kind !== "NetworkPolicy") return object;
  return JSON.parse(JSON.stringify(object), (_key, value: unknown) => {
    if (typeof value !== "object" || value === null || !("from" in value)) return value;
    const { from, ...others } = value;
    return { _from: from, ...others };
  }) as Manifest;
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
