/** Who may reach whom: NetworkPolicies evaluated as the API describes them. */
import { BlockList, isIP } from "node:net";
import type { V1NetworkPolicy, V1NetworkPolicyPeer } from "@kubernetes/client-node";
import type { Manifest } from "../../src/k8s/objects.js";

type Labels = Readonly<Record<string, string>>;

/** A pod; with an address, something outside the cluster. */
export interface End {
  readonly labels: Labels;
  readonly namespace: string;
  readonly address?: string;
}

/** The namespace of the policies. */
export const OWN = "own";

export function policiesOf(objects: readonly Manifest[]): readonly V1NetworkPolicy[] {
  return objects.filter(({ kind }) => kind === "NetworkPolicy") as unknown as V1NetworkPolicy[];
}

export function outside(address: string): End {
  return { labels: {}, namespace: "internet", address };
}

/** What no policy selects is open; what some select is open to what one of them allows. */
export function isAllowed(policies: readonly V1NetworkPolicy[], from: End, to: End, port: number, protocol = "TCP"): boolean {
  const passes = (direction: "Ingress" | "Egress", self: End, other: End): boolean => {
    const own = policies.filter(
      ({ spec }) => spec?.policyTypes?.includes(direction) && self.namespace === OWN && matches(spec.podSelector?.matchLabels, self.labels),
    );
    if (own.length === 0) return true;
    return own.some(({ spec }) =>
      (direction === "Ingress" ? (spec?.ingress ?? []) : (spec?.egress ?? [])).some((rule) => {
        const peers = ("from" in rule ? rule.from : "to" in rule ? rule.to : undefined) as V1NetworkPolicyPeer[] | undefined;
        const isPeer = peers === undefined || peers.some((peer) => selects(peer, other));
        const isPort =
          rule.ports === undefined ||
          rule.ports.some(
            (range) => range.protocol === protocol && port >= Number(range.port) && port <= (range.endPort ?? Number(range.port)),
          );
        return isPeer && isPort;
      }),
    );
  };
  return passes("Egress", from, to) && passes("Ingress", to, from);
}

function selects({ podSelector, namespaceSelector, ipBlock }: V1NetworkPolicyPeer, { labels, namespace, address }: End): boolean {
  if (ipBlock !== undefined) return address !== undefined && holds([ipBlock.cidr], address) && !holds(ipBlock.except ?? [], address);
  if (address !== undefined) return false;
  const isThere =
    namespaceSelector === undefined
      ? namespace === OWN
      : matches(namespaceSelector.matchLabels, { "kubernetes.io/metadata.name": namespace });
  return isThere && matches(podSelector?.matchLabels, labels);
}

function holds(cidrs: readonly string[], address: string): boolean {
  const family = isIP(address) === 6 ? "ipv6" : "ipv4";
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [net = "", length] = cidr.split("/");
    if (isIP(net) === isIP(address)) list.addSubnet(net, Number(length), family); // ::/0 of a BlockList holds version 4 too
  }
  return list.check(address, family);
}

function matches(selector: Labels | undefined, labels: Labels): boolean {
  return Object.entries(selector ?? {}).every(([key, value]) => labels[key] === value);
}
