/**
 * Runs on a real cluster, `npm run test:cluster`: what no fake can tell. It asks for
 *
 *   KUBECONFIG            the cluster; NAMESPACE (default: isoerg-test) must be there and hold the data claim
 *   ISOERG_IMAGE          an image of cluster/images that its nodes can pull
 *   ISOERG_DATA_CLAIM     claim with a prepared cifar10 (default: isoerg-data)
 *   ISOERG_GPUS           GPUs of a worker pod (default: 0)
 *   ISOERG_BUCKET         s3://bucket/prefix with a published cifar10 in `cifar10`, for one more scenario; with ISOERG_BUCKET_WORDS,
 *                         settings and options that lead there: "storage.endpoint=http://minio.storage.svc:9000 --bucket-secret s3"
 *
 * and says so, and ends with 0, where the first two aren't given. Each scenario is a run of its own, deleted afterwards. Runs are
 * plaintext within their network policies, so that no Secrets are needed.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { KUBECONFIG, ISOERG_IMAGE, ISOERG_DATA_CLAIM = "isoerg-data", ISOERG_GPUS = "0", NAMESPACE = "isoerg-test" } = process.env;
if (!KUBECONFIG || !ISOERG_IMAGE) {
  console.log("skipped: give KUBECONFIG and ISOERG_IMAGE, an image that the cluster can pull, to run on a real cluster");
  process.exit(0);
}
const { ISOERG_BUCKET, ISOERG_BUCKET_WORDS = "" } = process.env;
const own = join(root, "build", "kubectl", "kubectl");
const program = process.env.ISOERG_KUBECTL ?? (existsSync(own) ? own : "kubectl");

/** @param {...string} args @returns {string} */
function kubectl(...args) {
  const { status, stdout, stderr, error } = spawnSync(program, ["-n", NAMESPACE, ...args], { encoding: "utf8" });
  if (error) throw error;
  if (status !== 0) throw new Error(`kubectl ${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** @param {string} name @param {string[]} settings */
function words(name, settings) {
  const size = ["--workers", "2", "--gpus", ISOERG_GPUS, "--cpu", "1", "--memory", "2048", "--run-storage", "1Gi", "--insecure"];
  const where = [
    "--name",
    name,
    "--namespace",
    NAMESPACE,
    "--image",
    /** @type {string} */ (ISOERG_IMAGE),
    "--data-claim",
    ISOERG_DATA_CLAIM,
  ];
  return ["quickstart", "epochs=1", "data.subset=2048", "checkpoint.everySteps=8", ...settings, ...where, ...size];
}

/**
 * A launched run. `onLine` may do harm when the log says a word.
 * @param {string} name @param {string[]} settings @param {(line: string) => void} onLine
 * @returns {Promise<{ code: number | null, lines: string[] }>}
 */
async function launch(name, settings = [], onLine = () => {}) {
  const args = [join(root, "dist", "src", "main.js"), "launch", ...words(name, settings), "--on", "kubernetes"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "pipe"] });
  const exited = once(child, "exit");
  /** @type {string[]} */
  const lines = [];
  for await (const line of createInterface({ input: child.stderr })) {
    console.log(`  ${name} | ${line}`);
    lines.push(line);
    onLine(line);
  }
  const [code] = await exited;
  return { code, lines };
}

/** @param {(line: string) => boolean} isTime @param {() => void} act */
function onceWhen(isTime, act) {
  let isDone = false;
  return (/** @type {string} */ line) => {
    if (isDone || !isTime(line)) return;
    isDone = true;
    act();
  };
}

const isUnderWay = (/** @type {string} */ line) => /^step [1-9]\d*\//.test(line);

/** @param {string} name @param {string} component @param {string} index */
function podOf(name, component, index = "0") {
  const selector = `app.kubernetes.io/instance=${name},app.kubernetes.io/component=${component},batch.kubernetes.io/job-completion-index=${index}`;
  const running = component === "worker" ? selector : selector.replace(/,batch[^,]*$/, "");
  return kubectl("get", "pods", "-l", running, "--field-selector=status.phase=Running", "-o", "name").trim().split("\n")[0] ?? "";
}

/** @type {Record<string, (name: string) => Promise<string | null>>} what is wrong, or null */
const scenarios = {
  async "a run ends with 0"(name) {
    const { code } = await launch(name);
    return code === 0 ? null : `exit code ${code}`;
  },
  async "a worker killed without grace is replaced, and the run ends with 0"(name) {
    const kill = () => kubectl("delete", podOf(name, "worker", "1"), "--grace-period=0", "--force", "--wait=false");
    const { code, lines } = await launch(name, [], onceWhen(isUnderWay, kill));
    if (code !== 0) return `exit code ${code}`;
    return lines.some((line) => line.includes("generation 2")) ? null : "no second generation was told of";
  },
  async "a coordinator that is deleted saves, and its successor ends the run with 0"(name) {
    const kill = () => kubectl("delete", podOf(name, "coordinator"), "--wait=false");
    const { code, lines } = await launch(name, [], onceWhen(isUnderWay, kill));
    if (code !== 0) return `exit code ${code}`;
    return lines.some((line) => line.includes("SIGTERM")) ? null : "the coordinator did not hear SIGTERM";
  },
  async "wrong input ends with 2 and without a second try"(name) {
    const { code } = await launch(name, ["data.path=data/not-there"]);
    if (code !== 2) return `exit code ${code}`;
    const failed = kubectl("get", "job", `${name}-coordinator`, "-o", "jsonpath={.status.failed}");
    return failed === "1" ? null : `${failed} pods failed`;
  },
  async "a worker that needs more memory than it may have is told of"(name) {
    const { code, lines } = await launch(name, ["model.stages=[{channels: 4096}, {channels: 4096}]", "data.batchSize=512"]);
    if (code === 0) return "it had enough memory";
    return lines.some((line) => line.includes("more memory than its limit")) ? null : "no word of memory";
  },
};

if (ISOERG_BUCKET) {
  scenarios["data and checkpoints in a bucket: a run whose coordinator is deleted ends with 0"] = async (name) => {
    const settings = [`data.path=${ISOERG_BUCKET}/cifar10`, `checkpoint.path=${ISOERG_BUCKET}/${name}-${Date.now()}`];
    const kill = () => kubectl("delete", podOf(name, "coordinator"), "--wait=false");
    const { code } = await launch(name, [...settings, ...ISOERG_BUCKET_WORDS.split(/\s+/).filter(Boolean)], onceWhen(isUnderWay, kill));
    return code === 0 ? null : `exit code ${code}`;
  };
}

let numFailed = 0;
const only = process.argv[2];
for (const [index, [title, scenario]] of Object.entries(scenarios).entries()) {
  if (only !== undefined && !title.includes(only)) continue;
  const name = `isoerg-test-${index}`;
  console.log(`# ${title}`);
  let problem;
  try {
    problem = await scenario(name);
  } catch (error) {
    problem = /** @type {Error} */ (error).message;
  }
  const kinds = "jobs,services,configmaps,serviceaccounts,networkpolicies,poddisruptionbudgets,persistentvolumeclaims";
  spawnSync(program, ["-n", NAMESPACE, "delete", kinds, "-l", `app.kubernetes.io/instance=${name}`, "--wait=false"]);
  if (problem !== null) numFailed++;
  console.log(problem === null ? "ok" : `FAILED: ${problem}`);
}
process.exit(numFailed === 0 ? 0 : 1);
