/** What coordinator and workers have in common: image, protection, and a headless Service by whose name they are found. */
import type { V1Container, V1PodTemplateSpec, V1Service, V1Volume } from "@kubernetes/client-node";
import { type Component, labelsOf } from "./names.js";
import type { K8sOptions } from "./options.js";
import { type ContainerOptions, hardenedContainer, hardenedPod } from "./pod.js";
import { securityFlags, securityMounts, securityVolumes } from "./secrets.js";

/** A container of isoerg's image, whose process shows certificate and token, or says `--insecure`. */
export function memberContainer(options: K8sOptions, own: Omit<ContainerOptions, "image" | "shmMiB">): V1Container {
  return hardenedContainer({
    ...own,
    image: options.image,
    shmMiB: options.shmMiB,
    args: [...own.args, ...securityFlags(options)],
    mounts: [...(own.mounts ?? []), ...securityMounts(options)],
  });
}

export interface MemberPod {
  readonly containers: readonly V1Container[];
  readonly volumes?: readonly V1Volume[];
  readonly subdomain?: string;
  /** In place of the run's own. */
  readonly account?: string | null;
  readonly annotations?: Record<string, string>;
}

export function memberTemplate(
  options: K8sOptions,
  component: Component,
  { volumes = [], account = null, annotations, ...own }: MemberPod,
): V1PodTemplateSpec {
  return {
    metadata: { labels: labelsOf(options.name, component), ...(annotations && { annotations }) },
    spec: hardenedPod({
      ...own,
      serviceAccount: account ?? options.name,
      volumes: [...volumes, ...securityVolumes(options, component)],
      graceSeconds: options.graceSeconds,
      shmMiB: options.shmMiB,
    }),
  };
}

/** Its names resolve to pods whether they are ready or not: whoever calls tries until one answers. @param portName of the container */
export function headlessService(
  run: string,
  component: Component,
  { name, portName, port }: { readonly name: string; readonly portName: string; readonly port: number },
): V1Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, labels: labelsOf(run, component) },
    spec: {
      clusterIP: "None",
      publishNotReadyAddresses: true,
      selector: labelsOf(run, component),
      ports: [{ name: portName, port, targetPort: portName }],
    },
  };
}
