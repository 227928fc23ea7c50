/** What rendered pods need that no rendered object makes. */
import { describe, expect, it } from "vitest";
import { renderJobSet } from "../../src/k8s/jobset.js";
import type { Manifest } from "../../src/k8s/objects.js";
import { NO_BUCKET } from "../../src/k8s/options.js";
import { describePrerequisites, prerequisitesOf } from "../../src/k8s/prerequisites.js";
import { BUCKET_OPTIONS, IN_BUCKET, ON_SHARED_VOLUME, options, quickstart, rendered, renderedAt } from "./rendered.js";

const SECURED = ["Secret quickstart-tls-coordinator", "Secret quickstart-token", "Secret quickstart-tls-worker"];
const KEYS = " AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY";

describe("what a run needs beside its objects", () => {
  it.each<[string, readonly Manifest[], string[]]>([
    ["as it is", rendered(), SECURED],
    ["as a JobSet", renderJobSet(quickstart, options()), SECURED],
    ["plaintext", rendered({ tls: false }), []],
    ["in a bucket", renderedAt(IN_BUCKET, { tls: false, ...BUCKET_OPTIONS }), [`Secret s3${KEYS}`, `Secret s3-read${KEYS}`]],
    [
      "in a bucket, by identity, of a private authority",
      renderedAt(IN_BUCKET, { tls: false, bucket: { ...NO_BUCKET, account: "trainer", ca: "store-ca" } }),
      ["ServiceAccount trainer", "ConfigMap store-ca ca.crt"],
    ],
    [
      "on a shared volume",
      renderedAt(ON_SHARED_VOLUME, { tls: false, sharedClaim: { name: "team", folder: null } }),
      ["PersistentVolumeClaim team"],
    ],
  ])("%s", (_name, objects, needed) => {
    expect(prerequisitesOf(objects).map(({ kind, name, keys }) => [kind, name, ...keys].join(" "))).toEqual(needed);
  });

  it("is a line, or none", () => {
    expect(describePrerequisites(rendered({ tls: false }))).toBe("");
    expect(describePrerequisites(renderedAt(IN_BUCKET, { tls: false, bucket: { ...NO_BUCKET, secret: "s3" } }))).toBe(
      "they need in the namespace: Secret s3 (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)\n",
    );
  });
});
