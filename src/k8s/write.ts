/** Manifests as text: one YAML file a object, and the kustomization.yaml that lists them. */
import { Document, stringify } from "yaml";
import type { Manifest } from "./objects.js";

export interface ManifestFile {
  readonly name: string;
  readonly text: string;
}

/** Several objects in one stream, as `kubectl apply -f -` reads it. */
export function toYamlStream(objects: readonly Manifest[]): string {
  return objects.map((object) => `---\n${toYaml(object)}`).join("");
}

/** A folder for `kubectl apply -k`. @param note stands at the head of each file */
export function toFiles(objects: readonly Manifest[], note: string): readonly ManifestFile[] {
  const files = objects.map((object) => ({ name: fileName(object), text: `# ${note}\n${toYaml(object)}` }));
  const kustomization = new Document({
    apiVersion: "kustomize.config.k8s.io/v1beta1",
    kind: "Kustomization",
    resources: files.map(({ name }) => name),
  });
  return [...files, { name: "kustomization.yaml", text: `# ${note}\n${kustomization.toString()}` }];
}

export function toYaml(object: Manifest): string {
  return stringify(object, { lineWidth: 0, aliasDuplicateObjects: false });
}

/** `job-coordinator.yaml` for the Job NAME-coordinator. */
function fileName({ kind, metadata }: Manifest): string {
  const instance = (metadata as { labels?: Record<string, string> }).labels?.["app.kubernetes.io/instance"];
  const own = instance !== undefined && metadata.name.startsWith(`${instance}-`) ? metadata.name.slice(instance.length + 1) : "";
  const label = own !== "" ? own : metadata.name === instance ? "" : metadata.name;
  return `${[kind.toLowerCase(), ...(label === "" ? [] : [label])].join("-")}.yaml`;
}
