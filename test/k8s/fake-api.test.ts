/** The API server of the tests, driven by the real kubectl: what both take for granted is no agreement between our client and our fake. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findKubectl } from "./kubectl.js";
import { api, bothRun, cluster, kubeconfig, useCluster } from "./launched.js";

useCluster();

const kubectl = await findKubectl();
if (typeof kubectl === "string") console.warn(`skipped: ${kubectl}`);

describe.skipIf(typeof kubectl === "string")("the fake API server, driven by the real kubectl,", () => {
  const ask = async (...args: string[]): Promise<string> =>
    typeof kubectl === "string" ? "" : kubectl(["--kubeconfig", kubeconfig, ...args]);

  it("takes the base, shows its pods, follows a log, waits, and deletes", async () => {
    const base = join(import.meta.dirname, "..", "..", "k8s", "base");
    const applied = await ask("apply", "--server-side", "--validate=false", "-k", base);
    expect(applied.trim().split("\n")).toHaveLength(12);
    expect(applied).toContain("job.batch/quickstart-workers serverside-applied");
    const leader = await bothRun();
    expect(await ask("get", "pods", "-l", "app.kubernetes.io/instance=quickstart", "-o", "name")).toContain(`pod/${leader}`);
    api.writeLog(leader, "step 1/100");
    cluster.end(leader, 0);
    expect(await ask("logs", leader, "-c", "coordinator")).toBe("step 1/100\n");
    expect(await ask("wait", "--for=condition=Complete", "job/quickstart-coordinator", "--timeout=10s")).toContain("condition met");
    await ask("delete", "job", "quickstart-workers", "--wait=false");
    expect(api.list("jobs")).toHaveLength(1);
  });
});
