/**
 * What pods need for a bucket: credentials, and a way to it. Credentials come from a Secret (as the variables that Amazon's SDK
 * reads) or from a ServiceAccount to which the cluster's cloud gives an identity; nothing rendered holds any. The way is a
 * NetworkPolicy that opens the store's addresses on its port, and the cluster's DNS, for the pods that use it and for no others.
 *
 * A policy knows addresses, not names (networking.k8s.io/v1, NetworkPolicyPeer): those of a store inside the cluster, or one that is
 * named by its address, follow from the endpoint; all others have to be given.
 */
import { isIP } from "node:net";
import type {
  V1EnvVar,
  V1LabelSelector,
  V1NetworkPolicy,
  V1NetworkPolicyEgressRule,
  V1NetworkPolicyPeer,
  V1Volume,
  V1VolumeMount,
} from "@kubernetes/client-node";
import type { StorageConfig } from "../../config/schema.js";
import { IsoergError } from "../../util/error.js";
import { DNS_RULE, policyOf } from "../network-policy.js";
import type { BucketOptions, Network } from "../options.js";

const CA_FOLDER = "/etc/isoerg-bucket-ca";
/** As `kube-root-ca.crt` and trust-manager's bundles have it. */
const CA_KEY = "ca.crt";

/** Where "anywhere" is given, these are not meant: pods, the API server, a cloud's metadata. */
const NOT_PUBLIC = {
  4: ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"],
  6: ["fc00::/7", "fe80::/10"],
} as const;

/**
 * @param place that is in a bucket, as `data.path is s3://bucket/prefix` @param secret null where the pods' identity gives the rights
 * @throws IsoergError USAGE where neither is given
 */
export function bucketEnv(
  place: string,
  storage: StorageConfig,
  { account, secret }: Pick<BucketOptions, "account" | "secret">,
): readonly V1EnvVar[] {
  if (account !== null) return [];
  if (secret === null) {
    throw new IsoergError("USAGE", `${place}, and nothing says as whom pods reach it`, {
      hint: "--bucket-secret NAME for a Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --bucket-account NAME for a ServiceAccount that the cloud knows",
    });
  }
  const from = (key: string, optional: boolean): V1EnvVar => ({
    name: key,
    valueFrom: { secretKeyRef: { name: secret, key, ...(optional && { optional }) } },
  });
  // Amazon's own has a region in every address; a compatible store's is the configuration's, or any.
  const asksRegion = storage.endpoint === null && storage.region === null;
  return [
    from("AWS_ACCESS_KEY_ID", false),
    from("AWS_SECRET_ACCESS_KEY", false),
    from("AWS_SESSION_TOKEN", true),
    ...(asksRegion ? [from("AWS_REGION", true)] : []),
  ];
}

/** The authority of a store's certificate, where it is none that Node knows. */
export function bucketTrust({ ca }: BucketOptions): {
  env: readonly V1EnvVar[];
  mounts: readonly V1VolumeMount[];
  volumes: readonly V1Volume[];
} {
  if (ca === null) return { env: [], mounts: [], volumes: [] };
  return {
    env: [{ name: "NODE_EXTRA_CA_CERTS", value: `${CA_FOLDER}/${CA_KEY}` }],
    mounts: [{ name: "bucket-ca", mountPath: CA_FOLDER, readOnly: true }],
    volumes: [{ name: "bucket-ca", configMap: { name: ca, items: [{ key: CA_KEY, path: CA_KEY }] } }],
  };
}

/** Opens the way to the store for some pods of a run. @throws IsoergError USAGE where its addresses are not known */
export function bucketPolicy(run: string, podSelector: V1LabelSelector, storage: StorageConfig, options: BucketOptions): V1NetworkPolicy {
  const { endpoint } = storage;
  const url = endpoint === null ? null : new URL(endpoint);
  const host = url?.hostname.replace(/^\[|\]$/g, "") ?? null;
  const port = options.port ?? (url === null ? 443 : url.port !== "" ? Number(url.port) : url.protocol === "http:" ? 80 : 443);
  const egress = options.networks.length > 0 ? options.networks.map((network) => ruleOf(network, port)) : [derivedRule(host, port)];
  const isByName = host === null || isIP(host) === 0 || options.account !== null;
  return policyOf(run, `${run}-bucket`, { podSelector, policyTypes: ["Egress"], egress: [...egress, ...(isByName ? [DNS_RULE] : [])] });
}

function ruleOf({ cidr, port: own }: Network, port: number): V1NetworkPolicyEgressRule {
  const except = cidr === "0.0.0.0/0" ? NOT_PUBLIC[4] : cidr === "::/0" ? NOT_PUBLIC[6] : [];
  return egressTo({ ipBlock: { cidr, ...(except.length > 0 && { except: [...except] }) } }, own ?? port);
}

function derivedRule(host: string | null, port: number): V1NetworkPolicyEgressRule {
  const family = host === null ? 0 : isIP(host);
  if (family !== 0) return egressTo({ ipBlock: { cidr: `${host}/${family === 4 ? 32 : 128}` } }, port);
  const namespace = /^[^.]+\.([a-z0-9-]+)\.svc(\..+)?$/.exec(host ?? "")?.[1];
  if (namespace !== undefined)
    return egressTo({ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } }, podSelector: {} }, port);
  if (host !== null && !host.includes(".")) return egressTo({ podSelector: {} }, port); // a Service of the run's namespace
  throw new IsoergError("USAGE", `network policies go by addresses, and those of ${host ?? "Amazon's S3"} are not known here`, {
    hint: "--bucket-cidr CIDR[:PORT],... gives them; 0.0.0.0/0 is any public one",
  });
}

function egressTo(peer: V1NetworkPolicyPeer, port: number): V1NetworkPolicyEgressRule {
  return { to: [peer], ports: [{ protocol: "TCP", port }] };
}
