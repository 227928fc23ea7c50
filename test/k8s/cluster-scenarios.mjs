/** What is done to runs on a real cluster. A scenario says what is wrong, or null. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  evict,
  hasKind,
  isoerg,
  isUnderWay,
  kubectl,
  launch,
  NAMESPACE,
  onceWhen,
  podOf,
  statusOf,
  tryKubectl,
  words,
} from "./cluster-kit.mjs";

const { ISOERG_BUCKET, ISOERG_BUCKET_WORDS = "", ISOERG_QUEUE } = process.env;

/** @typedef {(name: string) => Promise<string | null>} Scenario */

/** @type {Record<string, Scenario>} */
export const scenarios = {
  async "a run ends with 0"(name) {
    const { code } = await launch(name);
    return code === 0 ? null : `exit code ${code}`;
  },
  async "a run with mutual TLS, from Secrets, ends with 0"(name) {
    makeSecrets(name);
    const { code } = await launch(name, ["--tls"]);
    return code === 0 ? null : `exit code ${code}`;
  },
  async "Secrets that are missing are told of"(name) {
    const wanted = `secret "${name}-token" not found`;
    const { lines } = await launch(name, ["--tls"], stopAt(wanted));
    return lines.some((line) => line.includes(wanted)) ? null : "no word of the Secret";
  },
  async "a worker killed by SIGKILL is replaced, and the run ends with 0"(name) {
    const kill = () => void tryKubectl(["exec", podOf(name, "worker", "1"), "--", "sh", "-c", "kill -9 -1"]);
    const { code, lines } = await launch(name, ["epochs=10"], onceWhen(isUnderWay, kill));
    if (code !== 0) return `exit code ${code}`;
    if (!lines.some((line) => line.endsWith("ended with 137: killed"))) return "nobody told of the kill";
    if (!lines.some((line) => /^generation \d+: worker-1 .*let in/.test(line))) return "its successor did not join";
    const failed = statusOf(`${name}-workers`, "failed");
    return failed === "1" ? null : `${failed} pods count as failed`;
  },
  async "a worker whose pod is deleted by force is replaced, and the run ends with 0"(name) {
    const kill = () => void kubectl("delete", "pod", podOf(name, "worker", "1"), "--grace-period=0", "--force", "--wait=false");
    const { code, lines } = await launch(name, ["epochs=6"], onceWhen(isUnderWay, kill));
    if (code !== 0) return `exit code ${code}`;
    return lines.some((line) => line.startsWith("generation 2")) ? null : "no second generation was told of";
  },
  async "an evicted worker costs nothing; a second eviction meanwhile is refused by the budget"(name) {
    /** @type {(string | null)[]} */
    const refused = [];
    const harm = () => {
      kubectl("wait", `pdb/${name}-workers`, "--for=jsonpath={.status.disruptionsAllowed}=1", "--timeout=60s"); // when both are ready
      refused.push(...["0", "1"].map((index) => evict(podOf(name, "worker", index))));
    };
    const { code, lines } = await launch(name, ["epochs=10"], onceWhen(isUnderWay, harm));
    if (code !== 0) return `exit code ${code}`;
    if (refused[0] !== null) return `the first eviction: ${refused[0]}`;
    if (!refused[1]?.includes("disruption budget")) return `the second eviction: ${refused[1] ?? "was let"}`;
    if (!lines.some((line) => line.includes("is taken away"))) return "nobody told of the eviction";
    if (!lines.some((line) => /^generation \d+: worker-0 .*let in/.test(line))) return "its successor did not join";
    const failed = statusOf(`${name}-workers`, "failed");
    return failed === "" || failed === "0" ? null : `${failed} pods count as failed`;
  },
  async "a coordinator that is deleted saves, and its successor ends the run with 0"(name) {
    const kill = () => void kubectl("delete", "pod", podOf(name, "coordinator"), "--wait=false");
    const { code, lines } = await launch(name, ["epochs=3"], onceWhen(isUnderWay, kill));
    if (code !== 0) return `exit code ${code}`;
    if (lines.some((line) => line.startsWith("no log of"))) return "it complains of a log that went with its pod";
    return lines.some((line) => line.includes("SIGTERM")) ? null : "the coordinator did not hear SIGTERM";
  },
  async "another experiment under the name of a run is refused, and changes nothing"(name) {
    const experiment = () => kubectl("get", "configmap", `${name}-experiment`, "-o", "jsonpath={.data}{.metadata.resourceVersion}");
    await launch(name, [], (_line, stop) => stop());
    const before = experiment();
    const { code, lines } = await launch(name, ["epochs=7"]);
    if (code !== 2) return `exit code ${code}`;
    if (experiment() !== before) return "the experiment of the run that is there was changed";
    const error = lines.find((line) => line.startsWith("error:")) ?? "";
    return error.includes("is there already") && error.length < 400 ? null : `it says: ${error.slice(0, 400)}`;
  },
  async "wrong input ends with 2 and without a second try"(name) {
    const { code } = await launch(name, ["data.path=data/not-there"]);
    if (code !== 2) return `exit code ${code}`;
    const failed = statusOf(`${name}-coordinator`, "failed");
    return failed === "1" ? null : `${failed} pods failed`;
  },
  async "a worker that needs more memory than it may have is told of"(name) {
    const wanted = "more memory than its limit";
    const settings = ["model.stages=[{channels: 4096}, {channels: 4096}]", "data.batchSize=512"];
    const { code, lines } = await launch(name, settings, stopAt(wanted)); // six failures a place would take half an hour
    if (code === 0) return "it had enough memory";
    return lines.some((line) => line.includes(wanted)) ? null : "no word of memory";
  },
};

if (ISOERG_BUCKET) {
  scenarios["data and checkpoints in a bucket: a run whose coordinator is deleted ends with 0"] = async (name) => {
    const settings = [`data.path=${ISOERG_BUCKET}/cifar10`, `checkpoint.path=${ISOERG_BUCKET}/${name}-${Date.now()}`];
    const kill = () => void kubectl("delete", "pod", podOf(name, "coordinator"), "--wait=false");
    const { code } = await launch(name, [...settings, ...ISOERG_BUCKET_WORDS.split(/\s+/).filter(Boolean)], onceWhen(isUnderWay, kill));
    return code === 0 ? null : `exit code ${code}`;
  };
}

if (ISOERG_QUEUE) {
  scenarios["Kueue: a run that is preempted saves, waits, and goes on where it stood"] = async (name) => {
    const setActive = (/** @type {boolean} */ active) => {
      const found = kubectl("get", "workloads", "-o", "name").split("\n");
      const workload = found.find((line) => line.includes(`job-${name}-workers`)) ?? "";
      kubectl("patch", workload, "--type=merge", "-p", JSON.stringify({ spec: { active } }));
    };
    let waits = 0;
    const { code, lines } = await launch(name, ["epochs=6", "--queue", ISOERG_QUEUE], (line) => {
      if (line.includes("waits in the queue") && ++waits === 2) setActive(true);
      if (waits === 1 && /^step [2-9]\d\//.test(line)) setActive(false);
    });
    if (code !== 0) return `exit code ${code}`;
    if (waits < 2) return "nobody told that it waits again";
    return lines.some((line) => /loads the checkpoint|hold(s)? step/.test(line)) ? null : "it did not go on where it stood";
  };
}

for (const [form, kind, end] of [
  ["jobset", "jobsets.jobset.x-k8s.io", "Completed"],
  ["trainjob", "trainjobs.trainer.kubeflow.org", "Complete"],
]) {
  if (!hasKind(kind)) continue;
  scenarios[`as a ${form}: a run ends`] = async (name) => (await applied(name, form, [])) ?? waitFor(`${kind}/${name}`, end);
  scenarios[`as a ${form}: wrong input fails it at once`] = async (name) =>
    (await applied(name, form, ["data.path=data/not-there"])) ?? waitFor(`${kind}/${name}`, "Failed");
}

/** @param {string} name @param {string} form @param {readonly string[]} settings @returns {Promise<string | null>} */
async function applied(name, form, settings) {
  const { status, stderr } = tryKubectl(
    ["apply", "--server-side", "-f", "-"],
    isoerg("k8s", "render", ...words(name, settings), "--as", form),
  );
  return status === 0 ? null : stderr;
}

/** @param {string} object @param {string} condition @returns {string | null} */
function waitFor(object, condition) {
  const { status, stderr } = tryKubectl(["wait", object, `--for=condition=${condition}`, "--timeout=300s"]);
  return status === 0 ? null : stderr;
}

/** @param {string} wanted */
function stopAt(wanted) {
  return onceWhen(
    (line) => line.includes(wanted),
    (stop) => stop(),
  );
}

/** As k8s/README.md says. @param {string} name */
function makeSecrets(name) {
  const folder = mkdtempSync(join(tmpdir(), "isoerg-certs-"));
  try {
    isoerg("certs", "make", "--out", folder, "--host", `${name}-coordinator`, `${name}-coordinator.${NAMESPACE}.svc`);
    isoerg("certs", "token", join(folder, "token"));
    const files = { coordinator: ["ca.pem", "coordinator.pem", "coordinator-key.pem"], worker: ["ca.pem", "worker.pem", "worker-key.pem"] };
    for (const [who, list] of Object.entries(files))
      kubectl("create", "secret", "generic", `${name}-tls-${who}`, ...list.map((file) => `--from-file=${join(folder, file)}`));
    kubectl("create", "secret", "generic", `${name}-token`, `--from-file=token=${join(folder, "token")}`);
    for (const secret of ["tls-coordinator", "tls-worker", "token"])
      kubectl("label", "secret", `${name}-${secret}`, `app.kubernetes.io/instance=${name}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
