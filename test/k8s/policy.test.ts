/** What every rendered pod must be, asserted on the objects themselves; and who may reach whom, by evaluating the NetworkPolicies. */
import type { V1PodDisruptionBudget, V1ServiceAccount } from "@kubernetes/client-node";
import { describe, expect, it } from "vitest";
import { exitCodeOf, IsoergError } from "../../src/util/error.js";
import { type End, isAllowed, OWN, outside, policiesOf } from "./reach.js";
import { BUCKET_OPTIONS, containersOf, IN_BUCKET, ON_SHARED_VOLUME, podsOf, rendered, renderedAt } from "./rendered.js";

const MIB = 2 ** 20;

function bytes(quantity: string | undefined): number {
  const [, value, unit] = /^(\d+)(Mi|Gi)$/.exec(quantity ?? "") ?? [];
  return Number(value) * (unit === "Gi" ? 1024 * MIB : MIB);
}

describe.each([
  ["CPU", rendered()],
  ["GPUs, in a queue", rendered({ gpus: 2, queue: "research" })],
  ["a bucket", renderedAt(IN_BUCKET, { gpus: 2, ...BUCKET_OPTIONS })],
  ["a shared volume", renderedAt(ON_SHARED_VOLUME, { sharedClaim: { name: "team", folder: null } })],
])("each pod of a run (%s)", (_name, objects) => {
  const pods = podsOf(objects);

  it("is there: the coordinator's and the workers'", () => {
    expect(pods.map(({ template }) => template.metadata?.labels?.["app.kubernetes.io/component"])).toEqual(["coordinator", "worker"]);
  });

  describe.each(pods.map((pod) => [pod.template.metadata?.labels?.["app.kubernetes.io/component"], pod] as const))("%s", (_which, pod) => {
    const spec = pod.template.spec;
    const containers = containersOf(pod);

    it("runs as a user without rights, and can't gain any", () => {
      expect(spec?.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } });
      expect(spec?.securityContext?.runAsUser).toBeGreaterThan(0);
      for (const { securityContext } of containers) {
        expect(securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          runAsNonRoot: true,
          capabilities: { drop: ["ALL"] },
          seccompProfile: { type: "RuntimeDefault" },
        });
      }
    });

    it("has nothing of its node", () => {
      expect(spec).not.toHaveProperty("hostNetwork");
      expect(spec).not.toHaveProperty("hostPID");
      expect(spec).not.toHaveProperty("hostIPC");
      expect((spec?.volumes ?? []).filter((volume) => volume.hostPath !== undefined)).toEqual([]);
      expect(containers.flatMap(({ ports = [] }) => ports).filter(({ hostPort }) => hostPort !== undefined)).toEqual([]);
    });

    it("gets no token of the API server, by pod and by account", () => {
      expect(spec?.automountServiceAccountToken).toBe(false);
      const account = objects.find(({ kind, metadata }) => kind === "ServiceAccount" && metadata.name === spec?.serviceAccountName);
      expect((account as V1ServiceAccount | undefined)?.automountServiceAccountToken).toBe(false);
      expect(objects.filter(({ kind }) => /Role/.test(kind))).toEqual([]);
    });

    it("asks for what it may use: requests equal limits, in each resource", () => {
      for (const { resources } of containers) {
        expect(resources?.requests).toEqual(resources?.limits);
        expect(Object.keys(resources?.limits ?? {})).toEqual(expect.arrayContaining(["cpu", "memory", "ephemeral-storage"]));
      }
    });

    it("has a memory-backed /dev/shm within its memory, and a /tmp to write to", () => {
      const volume = (path: string) => {
        const names = containers.map(({ volumeMounts = [] }) => volumeMounts.find(({ mountPath }) => mountPath === path)?.name);
        expect(new Set(names).size).toBe(1);
        return spec?.volumes?.find(({ name }) => name === names[0])?.emptyDir;
      };
      const shm = volume("/dev/shm");
      expect(shm?.medium).toBe("Memory");
      expect(bytes(shm?.sizeLimit)).toBeGreaterThan(64 * MIB);
      for (const { resources } of containers) expect(bytes(resources?.limits?.memory)).toBeGreaterThan(4 * bytes(shm?.sizeLimit));
      expect(volume("/tmp")?.sizeLimit).toBeDefined();
    });

    it("mounts nothing writable but volumes made for that", () => {
      const isCoordinator = pod.template.metadata?.labels?.["app.kubernetes.io/component"] === "coordinator";
      const made = ["tmp", "shm", "cache", ...(isCoordinator ? ["runs", "shared"] : [])];
      for (const { volumeMounts = [] } of containers) {
        const writable = volumeMounts.filter(({ readOnly }) => readOnly !== true).map(({ name }) => name);
        expect(writable.filter((name) => !made.includes(name))).toEqual([]);
      }
    });

    it("is asked for its health by gRPC, with time to start", () => {
      for (const container of containers) {
        expect(container.livenessProbe?.grpc?.port).toBe(container.startupProbe?.grpc?.port);
        expect(container.args?.some((arg) => arg === `--health=0.0.0.0:${container.livenessProbe?.grpc?.port}`)).toBe(true);
        expect((container.startupProbe?.failureThreshold ?? 0) * (container.startupProbe?.periodSeconds ?? 0)).toBeGreaterThanOrEqual(300);
      }
    });

    it("has time to end in order: a head start for the coordinator, all within the grace period", () => {
      expect(spec?.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(60);
      const preStops = containers.map(({ lifecycle }) => lifecycle?.preStop?.sleep?.seconds ?? 0);
      const isWorker = pod.template.metadata?.labels?.["app.kubernetes.io/component"] === "worker";
      for (const seconds of preStops) expect(seconds > 0).toBe(isWorker);
    });

    it("is judged by its exit code, as the program gives it", () => {
      const job = objects.find(
        (object) => (object as unknown as { spec?: { template?: unknown } }).spec?.template === pod.template,
      ) as unknown as {
        spec: {
          podFailurePolicy: { rules: { action: string; onExitCodes?: { values: number[] }; onPodConditions?: { type: string }[] }[] };
        };
      };
      const { rules } = job.spec.podFailurePolicy;
      const actionOf = (code: number): string => rules.find((rule) => rule.onExitCodes?.values.includes(code))?.action ?? "Count";
      const codeOf = (code: ConstructorParameters<typeof IsoergError>[0]): number => exitCodeOf(new IsoergError(code, ""));
      for (const wrong of ["USAGE", "CONFIG", "DATA", "CHECKPOINT"] as const) expect(actionOf(codeOf(wrong)), wrong).toBe("FailJob");
      for (const again of ["BELOW_MINIMUM", "UNREACHABLE", "EVICTED", "TERMINATED"] as const)
        expect(actionOf(codeOf(again)), again).toBe("Ignore");
      for (const counted of ["ENGINE", "DIVERGED", "NETWORK", "FENCED"] as const) expect(actionOf(codeOf(counted)), counted).toBe("Count");
      expect(actionOf(137)).toBe("Count"); // killed for memory
      expect(rules.find((rule) => rule.onPodConditions?.[0]?.type === "DisruptionTarget")?.action).toBe("Ignore");
      expect(spec?.restartPolicy).toBe("Never");
    });
  });
});

describe("certificates and token", () => {
  const pods = podsOf(rendered());

  it("come from Secrets, of each component its own certificates, readable by its group only", () => {
    for (const { template } of pods) {
      const component = template.metadata?.labels?.["app.kubernetes.io/component"];
      const secrets = (template.spec?.volumes ?? []).flatMap(({ secret }) => secret ?? []);
      expect(secrets).toEqual([
        { secretName: `quickstart-tls-${component}`, defaultMode: 0o440 },
        { secretName: "quickstart-token", defaultMode: 0o440 },
      ]);
      for (const { args, volumeMounts } of template.spec?.containers ?? []) {
        expect(args).toEqual(expect.arrayContaining(["--tls=/etc/isoerg-tls", "--token-file=/etc/isoerg-token/token"]));
        expect(volumeMounts).toEqual(
          expect.arrayContaining([
            { name: "tls", mountPath: "/etc/isoerg-tls", readOnly: true },
            { name: "token", mountPath: "/etc/isoerg-token", readOnly: true },
          ]),
        );
      }
    }
  });

  it("are neither asked for nor mounted where plaintext is asked for, in so many words", () => {
    for (const { template } of podsOf(rendered({ tls: false }))) {
      expect((template.spec?.volumes ?? []).filter(({ secret }) => secret !== undefined)).toEqual([]);
      for (const { args = [] } of template.spec?.containers ?? []) {
        expect(args).toContain("--insecure");
        expect(args.filter((arg) => /tls|token/.test(arg))).toEqual([]);
      }
    }
  });

  it("are in no object, no environment and no argument", () => {
    expect(rendered().filter(({ kind }) => kind === "Secret")).toEqual([]);
    expect(JSON.stringify(pods)).not.toMatch(/secretKeyRef|BEGIN/);
  });
});

describe("the disruption budget", () => {
  it.each([1, 2, 8])("of %i workers gives up one at a time", (workers) => {
    const budgets = rendered({ workers }).filter(({ kind }) => kind === "PodDisruptionBudget") as unknown as V1PodDisruptionBudget[];
    expect(budgets.map(({ spec }) => [spec?.minAvailable, spec?.selector?.matchLabels?.["app.kubernetes.io/component"]])).toEqual([
      [workers - 1, "worker"],
    ]);
  });
});

describe("the network", () => {
  const objects = rendered({ gpus: 2 });
  const policies = policiesOf(objects);
  const [coordinator, worker] = podsOf(objects).map(({ template }) => ({ labels: template.metadata?.labels ?? {}, namespace: OWN })) as [
    End,
    End,
  ];
  const otherRun: End = { labels: { ...worker.labels, "app.kubernetes.io/instance": "other" }, namespace: OWN };
  const stranger: End = { labels: {}, namespace: OWN };
  const elsewhere: End = { labels: worker.labels, namespace: "elsewhere" };
  const dns: End = { labels: { "k8s-app": "kube-dns" }, namespace: "kube-system" };
  const ports = podsOf(objects)
    .flatMap(containersOf)
    .flatMap(({ args = [] }) => args.flatMap((arg) => /^--data-ports=(\d+)-(\d+)$/.exec(arg)?.slice(1).map(Number) ?? []));

  it("takes workers to each other on every data port that they may listen on, and to the coordinator", () => {
    expect(ports).toEqual([7100, 7115, 7116, 7131]);
    for (const port of ports) expect(isAllowed(policies, worker, worker, port)).toBe(true);
    expect(isAllowed(policies, worker, coordinator, 7070)).toBe(true);
    expect(isAllowed(policies, worker, dns, 53, "UDP")).toBe(true);
  });

  it.each<[string, End, End, number]>([
    ["workers to ports below and above", worker, worker, 7099],
    ["workers to ports above", worker, worker, 7132],
    ["workers to the coordinator's health and metrics", worker, coordinator, 9090],
    ["the coordinator to workers", coordinator, worker, 7100],
    ["another run's workers", otherRun, worker, 7100],
    ["another run's workers to the coordinator", otherRun, coordinator, 7070],
    ["pods of the namespace", stranger, coordinator, 7070],
    ["pods of another namespace with a worker's labels", elsewhere, coordinator, 7070],
    ["workers out of the cluster", worker, outside("198.51.100.7"), 443],
    ["the coordinator out of the cluster", coordinator, outside("198.51.100.7"), 443],
    ["DNS on another port", worker, dns, 443],
  ])("does not take %s", (_name, from, to, port) => {
    expect(isAllowed(policies, from, to, port)).toBe(false);
  });
});
