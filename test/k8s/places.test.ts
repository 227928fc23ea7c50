/** Data and checkpoints in a bucket or on a shared volume: who gets what for it, who may reach what, and what is refused. */
import type { V1EnvVar, V1PodSpec } from "@kubernetes/client-node";
import { describe, expect, it } from "vitest";
import { parseNetworks, parseSharedClaim } from "../../src/cli/k8s/places.js";
import { renderJobSet } from "../../src/k8s/jobset.js";
import { type Manifest, renderObjects } from "../../src/k8s/objects.js";
import { type BucketOptions, type K8sOptions, NO_BUCKET } from "../../src/k8s/options.js";
import { renderTrainJob } from "../../src/k8s/trainer.js";
import { exitCodeOf } from "../../src/util/error.js";
import { crdProblemsOf, definitionOf } from "./crd.js";
import { type End, isAllowed, OWN, outside, policiesOf } from "./reach.js";
import { BUCKET_OPTIONS, configAt, IN_BUCKET, ON_SHARED_VOLUME, options, podsOf, rendered, renderedAt } from "./rendered.js";
import { problemsOf } from "./schema.js";

const DATA_IN_BUCKET = IN_BUCKET.filter((setting) => !setting.startsWith("checkpoint."));
const CHECKPOINTS_IN_BUCKET = IN_BUCKET.filter((setting) => !setting.startsWith("data."));
const bucket = (over: Partial<BucketOptions> = {}): Partial<K8sOptions> => ({ bucket: { ...NO_BUCKET, secret: "s3", ...over } });
const shared = (name: string, folder: string | null = null): Partial<K8sOptions> => ({ sharedClaim: { name, folder } });

/** Pods of coordinator and workers. */
function podsIn(objects: readonly Manifest[]): { coordinator: V1PodSpec; worker: V1PodSpec } {
  const [coordinator, worker] = podsOf(objects).map(({ template }) => template.spec as V1PodSpec);
  return { coordinator, worker } as { coordinator: V1PodSpec; worker: V1PodSpec };
}

const envOf = ({ containers }: V1PodSpec): readonly V1EnvVar[] => containers.flatMap(({ env = [] }) => env);
const secretsOf = (pod: V1PodSpec): readonly string[] => [
  ...new Set(envOf(pod).flatMap(({ valueFrom }) => valueFrom?.secretKeyRef?.name ?? [])),
];
const claimsOf = (objects: readonly Manifest[]): readonly string[] =>
  objects.flatMap(({ kind, metadata }) => (kind === "PersistentVolumeClaim" ? [metadata.name] : []));
const mountsOf = ({ containers: [container] }: V1PodSpec, volume: string) =>
  (container?.volumeMounts ?? []).filter(({ name }) => name === volume);
const volumeOf = ({ volumes = [] }: V1PodSpec, volume: string) => volumes.find(({ name }) => name === volume);

describe.each<[string, string[], Partial<K8sOptions>]>([
  ["data and checkpoints in a bucket", IN_BUCKET, BUCKET_OPTIONS],
  ["data in a bucket, by the pods' identity, several GPUs", DATA_IN_BUCKET, { gpus: 4, ...bucket({ secret: null, account: "trainer" }) }],
  ["checkpoints in a bucket of a private authority", CHECKPOINTS_IN_BUCKET, bucket({ ca: "store-ca" })],
  ["both on a shared volume", ON_SHARED_VOLUME, shared("team")],
  [
    "data on a shared volume, checkpoints in a bucket",
    [...CHECKPOINTS_IN_BUCKET, ...ON_SHARED_VOLUME.slice(0, 1)],
    { ...bucket(), ...shared("team") },
  ],
])("%s", (_name, settings, over) => {
  it.each(Object.entries({ jobs: renderObjects, jobset: renderJobSet, trainjob: renderTrainJob }))(
    "as %s: valid, field by field",
    (_form, render) => {
      const objects = render(configAt(settings), options(over));
      expect(objects.flatMap((object) => (definitionOf(object) ? crdProblemsOf(object) : problemsOf(object)))).toEqual([]);
    },
  );

  it("as a JobSet and a TrainJob: pods and policies like those of the Jobs", () => {
    const needs = (objects: readonly Manifest[]) => [
      podsOf(objects).map(({ template }) => [
        template.spec?.volumes,
        template.spec?.serviceAccountName,
        template.spec?.containers.map(({ volumeMounts, resources }) => [volumeMounts, resources]),
      ]),
      policiesOf(objects),
    ];
    const jobs = needs(renderedAt(settings, over));
    for (const render of [renderJobSet, renderTrainJob]) expect(needs(render(configAt(settings), options(over)))).toEqual(jobs);
  });
});

describe("credentials", () => {
  it("of a bucket come from Secrets, each pod's from its own, key by key; no value of them is in any object", () => {
    const { coordinator, worker } = podsIn(renderedAt(IN_BUCKET, BUCKET_OPTIONS));
    const from = (name: string) => [
      { name: "AWS_ACCESS_KEY_ID", valueFrom: { secretKeyRef: { name, key: "AWS_ACCESS_KEY_ID" } } },
      { name: "AWS_SECRET_ACCESS_KEY", valueFrom: { secretKeyRef: { name, key: "AWS_SECRET_ACCESS_KEY" } } },
      { name: "AWS_SESSION_TOKEN", valueFrom: { secretKeyRef: { name, key: "AWS_SESSION_TOKEN", optional: true } } },
    ];
    expect(envOf(coordinator)).toEqual(expect.arrayContaining(from("s3")));
    expect(envOf(worker)).toEqual(expect.arrayContaining(from("s3-read")));
    expect(renderedAt(IN_BUCKET, BUCKET_OPTIONS).filter(({ kind }) => kind === "Secret")).toEqual([]);
  });

  it("are one Secret for both where no other is named", () => {
    const { coordinator, worker } = podsIn(renderedAt(IN_BUCKET, bucket()));
    expect([secretsOf(coordinator), secretsOf(worker)]).toEqual([["s3"], ["s3"]]);
  });

  it("are not the workers' where only checkpoints are in a bucket: they stand as in a run without", () => {
    const objects = renderedAt(CHECKPOINTS_IN_BUCKET, bucket());
    expect(secretsOf(podsIn(objects).coordinator)).toEqual(["s3"]);
    expect(podsIn(objects).worker).toEqual(podsIn(rendered()).worker);
  });

  it("ask for a region where neither endpoint nor region is set", () => {
    const at = (...settings: string[]) => {
      const objects = renderedAt(["data.path=s3://models/sets", ...settings], bucket({ networks: parseNetworks("0.0.0.0/0") }));
      return envOf(podsIn(objects).worker).find(({ name }) => name === "AWS_REGION")?.valueFrom?.secretKeyRef;
    };
    expect(at()).toEqual({ name: "s3", key: "AWS_REGION", optional: true });
    expect(at("storage.region=eu-central-1")).toBeUndefined();
  });

  it("may be the pods' identity: an account of the cluster's, no Secret, and still no token of the API server", () => {
    const objects = renderedAt(CHECKPOINTS_IN_BUCKET, bucket({ secret: null, account: "trainer" }));
    const { coordinator, worker } = podsIn(objects);
    expect([coordinator.serviceAccountName, worker.serviceAccountName]).toEqual(["trainer", "quickstart"]);
    expect(coordinator.automountServiceAccountToken).toBe(false);
    expect(secretsOf(coordinator)).toEqual([]);
  });

  it("go to a store whose authority a ConfigMap names", () => {
    const { coordinator } = podsIn(renderedAt(IN_BUCKET, bucket({ ca: "store-ca" })));
    expect(envOf(coordinator)).toContainEqual({ name: "NODE_EXTRA_CA_CERTS", value: "/etc/isoerg-bucket-ca/ca.crt" });
    expect(mountsOf(coordinator, "bucket-ca")).toEqual([{ name: "bucket-ca", mountPath: "/etc/isoerg-bucket-ca", readOnly: true }]);
    expect(volumeOf(coordinator, "bucket-ca")?.configMap).toMatchObject({ name: "store-ca", items: [{ key: "ca.crt", path: "ca.crt" }] });
  });
});

describe("the cache", () => {
  const MIB = /^(\d+)Mi$/;
  const mib = (quantity: string | undefined): number => Number(MIB.exec(quantity ?? "")?.[1]);
  const disk = ({ containers }: V1PodSpec): number =>
    containers.map(({ resources }) => mib(resources?.limits?.["ephemeral-storage"])).reduce((sum, size) => sum + size);

  it.each([1, 4])("of a pod with %i processes is one volume with room for what it may hold, within the pod's disk", (gpus) => {
    const { worker } = podsIn(renderedAt([...IN_BUCKET, "storage.cacheMiB=5000"], { gpus, ...bucket() }));
    const limit = mib(volumeOf(worker, "cache")?.emptyDir?.sizeLimit);
    expect(limit).toBeGreaterThan(5000);
    expect(volumeOf(worker, "cache")?.emptyDir?.medium).toBeUndefined();
    expect(disk(worker)).toBe(disk(podsIn(rendered({ gpus })).worker) + limit);
    for (const { env, volumeMounts } of worker.containers) {
      expect(env).toContainEqual({ name: "ISOERG_CACHE", value: "/var/cache/isoerg" });
      expect(volumeMounts).toContainEqual({ name: "cache", mountPath: "/var/cache/isoerg" });
    }
  });

  it("is where storage.cache says", () => {
    const { worker } = podsIn(renderedAt([...IN_BUCKET, "storage.cache=/scratch/shards"], bucket()));
    expect(mountsOf(worker, "cache")).toEqual([{ name: "cache", mountPath: "/scratch/shards" }]);
    expect(envOf(worker).filter(({ name }) => name === "ISOERG_CACHE")).toEqual([]);
  });

  it("is none where nothing is kept", () => {
    const { coordinator, worker } = podsIn(renderedAt([...IN_BUCKET, "storage.cacheMiB=0"], bucket()));
    for (const pod of [coordinator, worker]) expect(volumeOf(pod, "cache")).toBeUndefined();
  });
});

describe("claims", () => {
  it.each<[string, string[], Partial<K8sOptions>, string[]]>([
    ["on claims", [], {}, ["quickstart-runs", "isoerg-data"]],
    ["data in a bucket", IN_BUCKET, bucket(), ["quickstart-runs"]],
    ["checkpoints in a bucket", CHECKPOINTS_IN_BUCKET, bucket(), ["quickstart-runs", "isoerg-data"]],
    ["on a shared volume", ON_SHARED_VOLUME, shared("team"), ["quickstart-runs"]],
  ])("%s: those that are made", (_name, settings, over, names) => {
    expect(claimsOf(renderedAt(settings, over))).toEqual(names);
  });

  it("of a shared volume are mounted at one folder: the workers' read-only, the coordinator's for checkpoints, data never written", () => {
    const { coordinator, worker } = podsIn(renderedAt(ON_SHARED_VOLUME, shared("team")));
    expect(mountsOf(worker, "shared")).toEqual([{ name: "shared", mountPath: "/mnt/team", readOnly: true }]);
    expect(volumeOf(worker, "shared")?.persistentVolumeClaim).toEqual({ claimName: "team", readOnly: true });
    expect(mountsOf(coordinator, "shared")).toEqual([
      { name: "shared", mountPath: "/mnt/team" },
      { name: "shared", mountPath: "/mnt/team/sets/small", subPath: "sets/small", readOnly: true },
    ]);
    expect(volumeOf(coordinator, "shared")?.persistentVolumeClaim).toEqual({ claimName: "team" });
  });

  it.each<[string, string[], string | null, string]>([
    ["the folder above the one place", ["data.path=file:///mnt/sets/cifar10"], null, "/mnt/sets"],
    ["the folder above both", ON_SHARED_VOLUME, null, "/mnt/team"],
    ["where it is said to be", ["data.path=file:///mnt/sets/cifar10"], "/mnt", "/mnt"],
    ["at the data set itself, if that is said", ["data.path=file:///mnt/sets/cifar10"], "/mnt/sets/cifar10", "/mnt/sets/cifar10"],
  ])("are mounted at %s", (_name, settings, folder, at) => {
    const { worker, coordinator } = podsIn(renderedAt(settings, shared("team", folder)));
    for (const pod of [coordinator, ...(settings.some((s) => s.startsWith("data.")) ? [worker] : [])])
      expect(mountsOf(pod, "shared")[0]?.mountPath).toBe(at);
  });

  it("of checkpoints alone are the coordinator's: workers stand as in a run without", () => {
    const objects = renderedAt(ON_SHARED_VOLUME.slice(1), shared("team"));
    expect(podsIn(objects).worker).toEqual(podsIn(rendered()).worker);
    expect(mountsOf(podsIn(objects).coordinator, "shared")).toEqual([{ name: "shared", mountPath: "/mnt/team/runs" }]);
  });
});

describe("the network of a run with a bucket", () => {
  const end = (component: string): End => ({
    labels: {
      "app.kubernetes.io/name": "isoerg",
      "app.kubernetes.io/instance": "quickstart",
      "app.kubernetes.io/component": component,
    },
    namespace: OWN,
  });
  const [coordinator, worker] = [end("coordinator"), end("worker")];
  const dns: End = { labels: { "k8s-app": "kube-dns" }, namespace: "kube-system" };
  const pod = (namespace: string): End => ({ labels: { app: "minio" }, namespace });
  const at = (endpoint: string | null, over: Partial<BucketOptions> = {}, settings = IN_BUCKET) =>
    policiesOf(renderedAt([...settings.filter((s) => !s.startsWith("storage.")), `storage.endpoint=${endpoint}`], bucket(over)));

  it("is that of a run without, where nothing is in one, and opens nothing inwards where something is", () => {
    expect(policiesOf(renderedAt(ON_SHARED_VOLUME, shared("team")))).toEqual(policiesOf(rendered()));
    const added = policiesOf(renderedAt(IN_BUCKET, bucket())).filter(({ metadata }) => metadata?.name === "quickstart-bucket");
    expect(added.map(({ spec }) => [spec?.policyTypes, spec?.ingress])).toEqual([[["Egress"], undefined]]);
  });

  it.each<[string, string | null, Partial<BucketOptions>, End, number]>([
    ["a Service of another namespace", "http://minio.storage.svc:9000", {}, pod("storage"), 9000],
    ["the same by its full name, another port behind it", "https://minio.storage.svc.cluster.local", { port: 9000 }, pod("storage"), 9000],
    ["a Service of the run's namespace", "http://minio:9000", {}, pod(OWN), 9000],
    ["an address", "http://10.0.7.1", {}, outside("10.0.7.1"), 80],
    ["an address of version 6", "http://[fd00::7]:9000", {}, outside("fd00::7"), 9000],
    ["Amazon's, by a given network", null, { networks: parseNetworks("52.216.0.0/15") }, outside("52.217.9.1"), 443],
    ["anywhere", "https://store.example", { networks: parseNetworks("0.0.0.0/0,::/0") }, outside("198.51.100.7"), 443],
    ["a network with its own port", null, { networks: parseNetworks("0.0.0.0/0,169.254.170.23/32:80") }, outside("169.254.170.23"), 80],
  ])("leads coordinator and workers to it: %s", (_name, endpoint, over, store, port) => {
    const policies = at(endpoint, over);
    for (const from of [coordinator, worker]) {
      expect(isAllowed(policies, from, store, port)).toBe(true);
      expect(isAllowed(policies, from, store, port + 1)).toBe(false);
      expect(isAllowed(policies, from, store, port, "UDP")).toBe(false);
      expect(isAllowed(policies, store, from, port)).toBe(false);
      expect(isAllowed(policies, from, outside("203.0.113.9"), 22)).toBe(false);
    }
    expect(isAllowed(policies, coordinator, worker, 7100)).toBe(false);
  });

  it.each(["10.0.0.1", "172.20.0.1", "192.168.1.1", "169.254.169.254", "100.64.3.2", "fd00::1", "fe80::1"])(
    "to anywhere leaves out addresses that are no public ones: %s",
    (address) => {
      const policies = at("http://store.example", { networks: parseNetworks("0.0.0.0/0,::/0") });
      expect(isAllowed(policies, worker, outside("198.51.100.7"), 80)).toBe(true);
      expect(isAllowed(policies, worker, outside(address), 80)).toBe(false);
    },
  );

  it("has names looked up by those who need it: the coordinator too where the store has a name, not where it is an address", () => {
    expect(isAllowed(at("http://minio.storage.svc:9000"), coordinator, dns, 53, "UDP")).toBe(true);
    expect(isAllowed(at("http://10.0.7.1:9000"), coordinator, dns, 53, "UDP")).toBe(false);
  });

  it("opens nothing for workers where only checkpoints are there, nor for another run", () => {
    const policies = at("http://10.0.7.1:9000", {}, CHECKPOINTS_IN_BUCKET);
    expect(isAllowed(policies, coordinator, outside("10.0.7.1"), 9000)).toBe(true);
    expect(isAllowed(policies, worker, outside("10.0.7.1"), 9000)).toBe(false);
    const other: End = { labels: { ...coordinator.labels, "app.kubernetes.io/instance": "other" }, namespace: OWN };
    const both = [...policies, ...policiesOf(rendered({ name: "other" }))];
    expect(isAllowed(both, other, outside("10.0.7.1"), 9000)).toBe(false);
  });
});

describe("what leads nowhere is refused, with what to do", () => {
  it.each<[string[], Partial<K8sOptions>, string, string]>([
    [["data.path=s3://models/sets"], bucket(), "those of Amazon's S3 are not known here", "--bucket-cidr"],
    [["data.path=s3://models/sets", "storage.endpoint=https://store.example"], bucket(), "those of store.example", "--bucket-cidr"],
    [DATA_IN_BUCKET, {}, "data.path is s3://models/sets/small, and nothing says as whom", "--bucket-secret"],
    [CHECKPOINTS_IN_BUCKET, {}, "checkpoint.path is s3://models/runs/one, and nothing says as whom", "--bucket-account"],
    [IN_BUCKET, bucket({ secret: null, workerSecret: "s3-read" }), "data.path is s3://models/sets/small", "--bucket-secret"],
    [[], bucket(), "nothing is there", "leave the option out"],
    [ON_SHARED_VOLUME, { ...shared("team"), ...bucket() }, "--bucket-... is for data and checkpoints at s3://", "leave the option out"],
    [CHECKPOINTS_IN_BUCKET, bucket({ workerSecret: "s3-read" }), "--bucket-worker-secret is for data at s3://", "leave the option out"],
    [[], shared("team"), "--shared-claim is for data and checkpoints at file:///folder", "leave the option out"],
    [ON_SHARED_VOLUME, {}, "data.path is file:///mnt/team/sets/small, which pods mount from a claim, and none is named", "--shared-claim"],
    [["data.path=file:///cifar10"], shared("team"), "over a pod's whole file system", "--shared-claim NAME:/mnt/shared"],
    [["data.path=file:///mnt/a/b"], shared("team", "/srv"), "data.path is file:///mnt/a/b, which does not lie in /srv", ""],
    [["data.path=file:///etc/isoerg/sets"], shared("team"), "would hide /etc/isoerg", "another folder"],
    [["data.path=file:///workspace/runs/x/sets"], shared("team"), "/workspace/runs of the pods, or lie in it", "another folder"],
    [["data.path=file:///mnt/a", "checkpoint.path=file:///mnt/a/b"], shared("team"), "checkpoint.path lies in data.path", ""],
    [[...IN_BUCKET, "storage.cache=/tmp"], bucket(), "storage.cache: a volume at /tmp would hide /tmp", "another folder"],
    [[...ON_SHARED_VOLUME, "storage.cache=/mnt/team/cache"], shared("team"), "a cache is its pod's own", ""],
    [IN_BUCKET, bucket({ account: "trainer" }), "--bucket-account and --bucket-secret", ""],
    [IN_BUCKET, bucket({ secret: "Upper" }), "--bucket-secret 'Upper' is no name", ""],
  ])("%j %j", (settings, over, message, hint) => {
    const error = (() => {
      try {
        return renderedAt(settings, over);
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(error).toMatchObject({ message: expect.stringContaining(message) });
    expect((error as { hint?: string }).hint ?? "").toContain(hint);
    expect(exitCodeOf(error)).toBe(2);
  });
});

describe("networks and claims on a command line", () => {
  it("are read", () => {
    expect(parseNetworks("10.0.5.0/24, 10.0.6.1/32:9000,fd00::/8:443")).toEqual([
      { cidr: "10.0.5.0/24", port: null },
      { cidr: "10.0.6.1/32", port: 9000 },
      { cidr: "fd00::/8", port: 443 },
    ]);
    expect(parseSharedClaim("team")).toEqual({ name: "team", folder: null });
    expect(parseSharedClaim("team:/mnt/shared/")).toEqual({ name: "team", folder: "/mnt/shared" });
  });

  it.each(["", "10.0.0.1", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "10.0.0.0/8:0", "10.0.0.0/8:65536", "store.example/32"])(
    "are refused: '%s'",
    (text) => {
      expect(() => parseNetworks(text)).toThrow("is no CIDR");
    },
  );

  it("a claim's folder is an absolute one", () => {
    expect(() => parseSharedClaim("team:mnt")).toThrow("NAME:/folder");
  });
});
