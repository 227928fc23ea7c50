/**
 * A rendered run with data and checkpoints in a bucket, as processes: each container's own words and variables and nothing else, over
 * folders that stand for its mounts. What a pod lacks (a key, a variable, a folder to write to) ends it here as on a cluster. Ports
 * and the engine are the test's: several runs share a machine here.
 */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { V1ConfigMap, V1EnvVar, V1PodSpec } from "@kubernetes/client-node";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { loadConfig } from "../../src/config/load.js";
import { auditJournal } from "../../src/coordinator/audit.js";
import { readJournal } from "../../src/coordinator/journal.js";
import { type Manifest, renderObjects } from "../../src/k8s/objects.js";
import { k8sOptions, NO_BUCKET } from "../../src/k8s/options.js";
import { packageRoot } from "../../src/util/package.js";
import { addressOf, type Ended, isoergWith, prepareExperiment } from "../kit/cluster.js";
import { ACCESS_KEY, BUCKET, type S3Server, SECRET_KEY, startS3Server } from "../kit/s3-server.js";
import { podsOf } from "./rendered.js";

vi.setConfig({ testTimeout: 300_000 }); // seconds of work, in processes that others may crowd out

const STEPS = 12;
let folder: string;
let server: S3Server;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isoerg-k8s-places-"));
  server = await startS3Server();
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

const SECRETS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  s3: { AWS_ACCESS_KEY_ID: ACCESS_KEY, AWS_SECRET_ACCESS_KEY: SECRET_KEY },
};
const FIELDS: Readonly<Record<string, string>> = {
  "status.podIP": "127.0.0.1",
  "metadata.annotations['batch.kubernetes.io/job-completion-index']": "0",
};

/** What the kubelet makes of a variable; undefined for an optional key that a Secret lacks. */
function resolved({ name, value, valueFrom }: V1EnvVar): string | undefined {
  if (value !== undefined) return value;
  const { secretKeyRef, fieldRef } = valueFrom ?? {};
  const found = secretKeyRef ? SECRETS[secretKeyRef.name ?? ""]?.[secretKeyRef.key] : FIELDS[fieldRef?.fieldPath ?? ""];
  if (found === undefined && secretKeyRef?.optional !== true) throw new Error(`${name} can't be had: CreateContainerConfigError`);
  return found;
}

/** Runs a pod's first container; `root` stands for its file system. @param changed words that a test has in place of rendered ones */
function runPod(pod: V1PodSpec, root: string, changed: Readonly<Record<string, string>>): Promise<Ended> {
  const [container] = pod.containers;
  const mounts = (container?.volumeMounts ?? []).map(({ mountPath }) => mountPath);
  for (const path of ["/workspace", ...mounts]) mkdirSync(join(root, path), { recursive: true });
  const here = (text: string): string => (mounts.some((path) => `${text}/`.startsWith(`${path}/`)) ? join(root, text) : text);
  const env: Record<string, string> = {};
  for (const variable of container?.env ?? []) {
    const value = resolved(variable);
    if (value !== undefined) env[variable.name] = here(value);
  }
  const words = (container?.args ?? []).map((word) => {
    const [flag = ""] = word.split("=");
    return here((changed[flag] ?? word).replaceAll(/\$\(([A-Z_]+)\)/g, (_all, name: string) => env[name] ?? ""));
  });
  const program = join(packageRoot, "dist", "src", "main.js");
  const extra = words[0] === "worker" ? ["--engine=cpu"] : [];
  const child = spawn(process.execPath, [program, ...words, ...extra], {
    cwd: join(root, "workspace"),
    env: { HOME: "/nowhere", PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [out, error] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    error += text;
  });
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, out, error })));
}

test("pods of a run with data and checkpoints in a bucket have all that they need for it", async () => {
  const experiment = await prepareExperiment(folder, { epochs: 1 }, { shardBytes: 8 * 194 });
  const place = `s3://${BUCKET}/sets/small`;
  expect(await isoergWith(server.env, "data", "publish", join(folder, "data"), place).ended).toMatchObject({ code: 0 });
  const settings = [`data.path=${place}`, `checkpoint.path=s3://${BUCKET}/runs/one`, `storage.endpoint=${server.endpoint}`];
  const { config } = loadConfig({ source: experiment, overrides: settings, env: {} });
  const bucket = { ...NO_BUCKET, secret: "s3" };
  const objects = renderObjects(config, k8sOptions({ name: "small", workers: 1, tls: false, bucket }));
  const [leader, worker] = podsOf(objects).map(({ template }) => template.spec as V1PodSpec);

  const root = join(folder, "coordinator");
  mkdirSync(join(root, "etc", "isoerg"), { recursive: true });
  const map = objects.find(({ kind }: Manifest) => kind === "ConfigMap") as V1ConfigMap;
  writeFileSync(join(root, "etc", "isoerg", "experiment.yaml"), map.data?.["experiment.yaml"] ?? "");
  const anyPort = (flag: string) => ({ [flag]: `${flag}=127.0.0.1:0` });
  const leading = runPod(leader as V1PodSpec, root, { ...anyPort("--listen"), ...anyPort("--health"), ...anyPort("--metrics") });
  const run = join(root, "workspace", "runs", "small");
  const address = await Promise.race([addressOf(run), leading.then(({ error }) => Promise.reject(new Error(error)))]);
  const working = runPod(worker as V1PodSpec, join(folder, "worker"), {
    ...anyPort("--health"),
    "--coordinator": `--coordinator=${address}`,
    "--data-ports": "--insecure", // any that are free
  });
  expect(await leading).toMatchObject({ code: 0 });
  expect(await working).toMatchObject({ code: 0 });

  const { lines } = await readJournal(run);
  expect(auditJournal(lines)).toMatchObject({ faults: [] });
  expect(auditJournal(lines).commits).toHaveLength(STEPS);
  expect([...server.objects.keys()].filter((key) => /^runs\/one\/step-.*\/manifest\.json$/.test(key))).not.toEqual([]);
  const kept = await readdir(join(folder, "worker", "var", "cache", "isoerg", "shards"));
  const shards = [...server.objects.keys()].filter((key) => /^sets\/small\/.*train-/.test(key));
  expect(kept.filter((name) => /^[0-9a-f]{64}$/.test(name))).toHaveLength(shards.length);
});
