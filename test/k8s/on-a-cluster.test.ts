/** The suite for a real cluster says what it needs where there is none, and fails nobody. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";
import { packageRoot } from "../../src/util/package.js";

it("npm run test:cluster is skipped, with a word, without a cluster", () => {
  const { KUBECONFIG: _, ISOERG_IMAGE: __, ...env } = process.env;
  const suite = join(packageRoot, "test", "k8s", "on-a-cluster.mjs");
  const { status, stdout } = spawnSync(process.execPath, [suite], { env, encoding: "utf8" });
  expect([status, stdout]).toEqual([
    0,
    "skipped: give KUBECONFIG and ISOERG_IMAGE, an image that the cluster can pull, to run on a real cluster\n",
  ]);
});
