/** k8s/launcher-role.yaml: a launcher that is allowed this and no more carries a run, and its failure, to the end. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { V1PolicyRule, V1Role } from "@kubernetes/client-node";
import { beforeEach, expect, it } from "vitest";
import { parse } from "yaml";
import type { Manifest } from "../../src/k8s/objects.js";
import { packageRoot } from "../../src/util/package.js";
import { api, COORDINATOR, cluster, start, useCluster } from "./launched.js";
import { BUCKET_OPTIONS, IN_BUCKET, rendered, renderedAt } from "./rendered.js";
import { problemsOf } from "./schema.js";

const role = parse(readFileSync(join(packageRoot, "k8s", "launcher-role.yaml"), "utf8")) as V1Role;
const rules = role.rules ?? [];

useCluster();

/** Rules that something was allowed by, and what was refused. */
let used: Set<V1PolicyRule>;
let refused: string[];
beforeEach(() => {
  used = new Set();
  refused = [];
  api.intercept = (method, path, query) => {
    const found = /^\/(?:api|apis\/([^/]+))\/v1\/namespaces\/[^/]+\/([a-z]+)(?:\/([^/]+)(?:\/(log))?)?$/.exec(path);
    if (!found) return null; // discovery
    const [, group = "", resource = "", name, sub] = found;
    const what = sub === undefined ? resource : `${resource}/${sub}`;
    for (const verb of verbsOf(method, name, query)) {
      const rule = rules.find(
        ({ apiGroups = [], resources = [], verbs }) => apiGroups.includes(group) && resources.includes(what) && verbs.includes(verb),
      );
      if (rule) used.add(rule);
      else refused.push(`${verb} ${what}`);
    }
    return refused.length > 0 ? { code: 403, message: refused.join(", ") } : null;
  };
});

/** As the API server reads a request; whoever applies what is not there must be allowed to make it, too. */
function verbsOf(method: string, name: string | undefined, query: URLSearchParams): readonly string[] {
  if (method === "PATCH") return query.has("fieldManager") && query.has("force") ? ["patch", "create"] : ["patch"];
  if (method === "DELETE") return ["delete"];
  if (query.get("watch") === "true") return ["watch"];
  return [name === undefined ? "list" : "get"];
}

async function launched(objects: readonly Manifest[], exitCode: number): Promise<unknown> {
  const run = start(objects);
  const leader = await cluster.pod(COORDINATOR);
  cluster.run(leader);
  cluster.end(leader, exitCode);
  return await run.ended;
}

it("is a valid Role", () => {
  expect(problemsOf(role as Manifest)).toEqual([]);
});

it("is enough for a run, for one that fails, and for one that is launched again, and nothing of it is idle", async () => {
  expect(await launched(renderedAt(IN_BUCKET, BUCKET_OPTIONS), 0)).toBeNull();
  for (const job of api.list("jobs")) api.remove("jobs", job.metadata.name);
  expect(await launched(rendered({ queue: null }), 2)).toMatchObject({ message: expect.stringContaining("exit code 2") });
  expect(refused).toEqual([]);
  expect(rules.filter((rule) => !used.has(rule))).toEqual([]);
});
