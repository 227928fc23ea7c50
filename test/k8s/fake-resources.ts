/** The kinds of object that the API server of the tests knows, and what it tells clients of them: discovery. */

export interface Resource {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

export const RESOURCES: Readonly<Record<string, Resource>> = {
  pods: { group: "", version: "v1", kind: "Pod" },
  events: { group: "", version: "v1", kind: "Event" },
  services: { group: "", version: "v1", kind: "Service" },
  configmaps: { group: "", version: "v1", kind: "ConfigMap" },
  serviceaccounts: { group: "", version: "v1", kind: "ServiceAccount" },
  persistentvolumeclaims: { group: "", version: "v1", kind: "PersistentVolumeClaim" },
  jobs: { group: "batch", version: "v1", kind: "Job" },
  networkpolicies: { group: "networking.k8s.io", version: "v1", kind: "NetworkPolicy" },
  poddisruptionbudgets: { group: "policy", version: "v1", kind: "PodDisruptionBudget" },
};
const GROUPS = [...new Set(Object.values(RESOURCES).map(({ group }) => group))].filter((group) => group !== "");

/** What clients ask first: groups, versions and kinds. */
export function discovery(path: string): unknown {
  if (path === "/version") return { major: "1", minor: "32", gitVersion: "v1.32.0" };
  if (path === "/api") return { kind: "APIVersions", versions: ["v1"] };
  if (path === "/apis") {
    const versionOf = (group: string) => ({ groupVersion: `${group}/v1`, version: "v1" });
    const groups = GROUPS.map((name) => ({ name, versions: [versionOf(name)], preferredVersion: versionOf(name) }));
    return { kind: "APIGroupList", apiVersion: "v1", groups };
  }
  const group = path === "/api/v1" ? "" : /^\/apis\/([^/]+)\/v1$/.exec(path)?.[1];
  if (group === undefined) return undefined;
  const resources = Object.entries(RESOURCES)
    .filter(([, resource]) => resource.group === group)
    .map(([name, { kind }]) => ({
      name,
      singularName: kind.toLowerCase(),
      kind,
      namespaced: true,
      verbs: ["create", "delete", "get", "list", "patch", "update", "watch"],
    }));
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion: group === "" ? "v1" : `${group}/v1`, resources };
}
