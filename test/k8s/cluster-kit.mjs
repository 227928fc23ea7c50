/** What the scenarios on a real cluster have in common: where it is, kubectl, launched runs, and harm at a given line of a run's log. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));
export const { ISOERG_IMAGE = "", ISOERG_DATA_CLAIM = "isoerg-data", ISOERG_GPUS = "0", NAMESPACE = "isoerg-test" } = process.env;
const own = join(root, "build", "kubectl", "kubectl");
export const program = process.env.ISOERG_KUBECTL ?? (existsSync(own) ? own : "kubectl");
const main = join(root, "dist", "src", "main.js");

/** @param {readonly string[]} args @param {string} [input] */
export function tryKubectl(args, input) {
  const { status, stdout, stderr, error } = spawnSync(program, ["-n", NAMESPACE, ...args], { encoding: "utf8", ...(input && { input }) });
  if (error) throw error;
  return { status, stdout, stderr };
}

/** @param {...string} args @returns {string} */
export function kubectl(...args) {
  const { status, stdout, stderr } = tryKubectl(args);
  if (status !== 0) throw new Error(`kubectl ${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** @param {string[]} args @returns {string} */
export function isoerg(...args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(`isoerg ${args.join(" ")}: ${stderr}`);
  return stdout;
}

const SETTINGS = ["quickstart", "epochs=1", "data.subset=2048", "checkpoint.everySteps=8"];

/** Words of a small run: three pods of a core each. @param {string} name @param {readonly string[]} more settings and options */
export function words(name, more) {
  const size = ["--workers", "2", "--gpus", ISOERG_GPUS, "--cpu", "1", "--memory", "2048", "--run-storage", "1Gi"];
  const where = ["--name", name, "--namespace", NAMESPACE, "--image", ISOERG_IMAGE, "--data-claim", ISOERG_DATA_CLAIM];
  const security = more.includes("--tls") ? [] : ["--insecure"]; // as the Secrets of --tls are the scenario's to make
  return [...SETTINGS, ...more.filter((word) => word !== "--tls"), ...where, ...size, ...security];
}

/**
 * A launched run. `onLine` may do harm when the log says a word, and end the following by what it is given.
 * @param {string} name @param {readonly string[]} more @param {(line: string, stop: () => void) => void} onLine
 * @param {Record<string, string>} env
 * @returns {Promise<{ code: number | null, lines: string[] }>}
 */
export async function launch(name, more = [], onLine = () => {}, env = {}) {
  const args = [main, "launch", ...words(name, more), "--on", "kubernetes"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "pipe"], env: { ...process.env, ...env } });
  const exited = once(child, "exit");
  /** @type {string[]} */
  const lines = [];
  for await (const line of createInterface({ input: child.stderr })) {
    console.log(`  ${name} | ${line}`);
    lines.push(line);
    onLine(line, () => child.kill("SIGINT"));
  }
  const [code] = await exited;
  return { code, lines };
}

/** @param {(line: string) => boolean} isTime @param {(stop: () => void) => void} act */
export function onceWhen(isTime, act) {
  let isDone = false;
  return (/** @type {string} */ line, /** @type {() => void} */ stop) => {
    if (isDone || !isTime(line)) return;
    isDone = true;
    act(stop);
  };
}

export const isUnderWay = (/** @type {string} */ line) => /^step [1-9]\d*\//.test(line);

/** Name of the pod that runs. @param {string} name @param {"coordinator" | "worker"} component @param {string} index */
export function podOf(name, component, index = "0") {
  const labels = [`app.kubernetes.io/instance=${name}`, `app.kubernetes.io/component=${component}`];
  if (component === "worker") labels.push(`batch.kubernetes.io/job-completion-index=${index}`);
  const found = kubectl("get", "pods", "-l", labels.join(","), "--field-selector=status.phase=Running", "-o", "name");
  return (found.trim().split("\n")[0] ?? "").replace("pod/", "");
}

/** @param {string} job @param {string} path @returns {string} */
export function statusOf(job, path) {
  return kubectl("get", "job", job, "-o", `jsonpath={.status.${path}}`);
}

/** Asks for an eviction, as a drain does. @param {string} pod @returns {string | null} why it was refused */
export function evict(pod) {
  const body = JSON.stringify({ apiVersion: "policy/v1", kind: "Eviction", metadata: { name: pod, namespace: NAMESPACE } });
  const { status, stderr } = tryKubectl(["create", "--raw", `/api/v1/namespaces/${NAMESPACE}/pods/${pod}/eviction`, "-f", "-"], body);
  return status === 0 ? null : stderr;
}

/** Whether the cluster has a kind. @param {string} resource */
export function hasKind(resource) {
  return tryKubectl(["get", resource, "--ignore-not-found"]).status === 0;
}

/** Deletes all of a run but what it wrote. @param {string} name */
export function removeRun(name) {
  const kinds = "jobs,services,configmaps,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets,persistentvolumeclaims";
  const controllers = ["jobsets.jobset.x-k8s.io", "trainjobs.trainer.kubeflow.org"].filter(hasKind);
  if (controllers.length > 0) tryKubectl(["delete", controllers.join(","), name, "--ignore-not-found", "--wait=false"]);
  tryKubectl(["delete", kinds, "-l", `app.kubernetes.io/instance=${name}`, "--wait=false"]);
}
