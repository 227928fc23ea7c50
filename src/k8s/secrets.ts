/**
 * Certificates and token from Secrets, unless plaintext is asked for: NAME-tls-coordinator and NAME-tls-worker with the files that
 * `--tls DIR` reads, NAME-token with the key `token`. What makes them is in k8s/README.md; nothing here holds a key.
 */
import type { V1Volume, V1VolumeMount } from "@kubernetes/client-node";
import { type Component, TLS_FOLDER, TOKEN_FOLDER } from "./names.js";
import type { K8sOptions } from "./options.js";

export function securityFlags({ tls }: Pick<K8sOptions, "tls">): readonly string[] {
  return tls ? [`--tls=${TLS_FOLDER}`, `--token-file=${TOKEN_FOLDER}/token`] : ["--insecure"];
}

export function securityMounts({ tls }: Pick<K8sOptions, "tls">): readonly V1VolumeMount[] {
  if (!tls) return [];
  return [
    { name: "tls", mountPath: TLS_FOLDER, readOnly: true },
    { name: "token", mountPath: TOKEN_FOLDER, readOnly: true },
  ];
}

/** Readable by the pod's group (fsGroup) and by nobody else. */
export function securityVolumes({ name, tls }: Pick<K8sOptions, "name" | "tls">, component: Component): readonly V1Volume[] {
  if (!tls) return [];
  return [
    { name: "tls", secret: { secretName: `${name}-tls-${component}`, defaultMode: 0o440 } },
    { name: "token", secret: { secretName: `${name}-token`, defaultMode: 0o440 } },
  ];
}
