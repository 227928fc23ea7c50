/**
 * Who may speak to whom: workers to workers on their data ports, workers to the coordinator's gRPC port, workers to the cluster's
 * DNS. Nothing else goes in or out of a run's pods, but to a bucket where data or checkpoints are in one (places/bucket.ts). Probes
 * come from the node itself, which policies don't hold back.
 */
import type { V1NetworkPolicy, V1NetworkPolicyEgressRule, V1NetworkPolicySpec } from "@kubernetes/client-node";
import { COORDINATOR_PORT, coordinatorName, DATA_PORTS_START, labelsOf, lastDataPort, selectorOf, workersName } from "./names.js";
import type { K8sOptions } from "./options.js";

/** The cluster's DNS. */
export const DNS_RULE: V1NetworkPolicyEgressRule = {
  to: [
    {
      namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } },
      podSelector: { matchLabels: { "k8s-app": "kube-dns" } },
    },
  ],
  ports: [
    { protocol: "UDP", port: 53 },
    { protocol: "TCP", port: 53 },
  ],
};

/** For a run of this name; other policies add to it. */
export function denyAll(name: string): V1NetworkPolicy {
  return policyOf(name, `${name}-deny`, { podSelector: selectorOf(name), policyTypes: ["Ingress", "Egress"], ingress: [], egress: [] });
}

export function policyOf(run: string, called: string, spec: V1NetworkPolicySpec): V1NetworkPolicy {
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: called, labels: labelsOf(run) }, spec };
}

export function networkPolicies({ name, gpus }: K8sOptions): readonly V1NetworkPolicy[] {
  const policy = (called: string, spec: V1NetworkPolicySpec): V1NetworkPolicy => policyOf(name, called, spec);
  const workers = { podSelector: selectorOf(name, "worker") };
  const coordinator = { podSelector: selectorOf(name, "coordinator") };
  const dataPorts = [{ protocol: "TCP", port: DATA_PORTS_START, endPort: lastDataPort(Math.max(1, gpus)) }];
  const grpc = [{ protocol: "TCP", port: COORDINATOR_PORT }];
  return [
    denyAll(name),
    policy(coordinatorName(name), {
      podSelector: coordinator.podSelector,
      policyTypes: ["Ingress"],
      ingress: [{ _from: [workers], ports: grpc }],
    }),
    policy(workersName(name), {
      podSelector: workers.podSelector,
      policyTypes: ["Ingress", "Egress"],
      ingress: [{ _from: [workers], ports: dataPorts }],
      egress: [{ to: [workers], ports: dataPorts }, { to: [coordinator], ports: grpc }, DNS_RULE],
    }),
  ];
}
