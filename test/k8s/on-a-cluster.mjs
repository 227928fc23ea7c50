/**
 * Runs on a real cluster, `npm run test:cluster`: what no fake can tell. It asks for
 *
 *   KUBECONFIG            the cluster; NAMESPACE (default: isoerg-test) must be there and hold the data claim
 *   ISOERG_IMAGE          an image of cluster/images that its nodes can pull
 *   ISOERG_DATA_CLAIM     claim with a prepared cifar10 (default: isoerg-data)
 *   ISOERG_GPUS           GPUs of a worker pod (default: 0)
 *   ISOERG_BUCKET         s3://bucket/prefix with a published cifar10 in `cifar10`, for one more scenario; with ISOERG_BUCKET_WORDS,
 *                         settings and options that lead there: "storage.endpoint=http://minio.storage.svc:9000 --bucket-secret s3"
 *   ISOERG_QUEUE          Kueue's LocalQueue, for one more scenario
 *
 * and says so, and ends with 0, where the first two aren't given. A word behind it (`npm run test:cluster -- evicted`) names the
 * scenarios to run. Nodes need three free cores and 7 GiB in all. Where JobSet and Trainer are, they are tried too. Each scenario is a
 * run of its own, deleted afterwards; most take half a minute on two cores. Runs are plaintext within their network policies, but one.
 */
if (!process.env.KUBECONFIG || !process.env.ISOERG_IMAGE) {
  console.log("skipped: give KUBECONFIG and ISOERG_IMAGE, an image that the cluster can pull, to run on a real cluster");
  process.exit(0);
}
const { removeRun } = await import("./cluster-kit.mjs");
const { scenarios } = await import("./cluster-scenarios.mjs");

let numFailed = 0;
const only = process.argv[2];
for (const [index, [title, scenario]] of Object.entries(scenarios).entries()) {
  if (only !== undefined && !title.includes(only)) continue;
  const name = `isoerg-test-${index}`;
  console.log(`# ${title}`);
  const since = performance.now();
  let problem;
  try {
    problem = await scenario(name);
  } catch (error) {
    problem = /** @type {Error} */ (error).message;
  }
  removeRun(name);
  if (problem !== null) numFailed++;
  console.log(`${problem === null ? "ok" : `FAILED: ${problem}`} (${Math.round((performance.now() - since) / 1000)} s)`);
}
process.exit(numFailed === 0 ? 0 : 1);
