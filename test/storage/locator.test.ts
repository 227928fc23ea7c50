import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { storageSchema } from "../../src/config/schema/storage.js";
import { isLocator, locatorProblem, locatorText, parseLocator } from "../../src/util/locator.js";
import { packageRoot } from "../../src/util/package.js";
import { smallConfig } from "../kit/small-run.js";

describe("a place", () => {
  it("is a bucket, a shared folder or a plain path", () => {
    expect(parseLocator("s3://my-bucket/a/b/")).toEqual({ kind: "s3", bucket: "my-bucket", prefix: "a/b" });
    expect(parseLocator("s3://my-bucket")).toEqual({ kind: "s3", bucket: "my-bucket", prefix: "" });
    expect(parseLocator("file:///mnt/with%20space")).toEqual({ kind: "file", path: "/mnt/with space" });
    for (const plain of ["data/cifar10", "/mnt/data", "s3:", "", "C:\\data"]) expect(parseLocator(plain)).toBeNull();
    expect(locatorText({ kind: "s3", bucket: "b", prefix: "" })).toBe("s3://b");
    for (const text of ["s3://b1/a/b", "file:///mnt/x"]) expect(locatorText(parseLocator(text) as never)).toBe(text);
  });

  it("that can't be used is refused with what to write instead", () => {
    for (const [text, said] of [
      ["gs://bucket/x", "'gs://' is not known here"],
      ["file://host/x", "file:///absolute/path"],
      ["file://", "file:///absolute/path"],
      ["s3://", "s3://bucket/prefix"],
      ["s3:///x", "s3://bucket/prefix"],
    ] as const) {
      expect(isLocator(text)).toBe(true);
      expect(locatorProblem(text)).toContain(said);
      expect(() => parseLocator(text)).toThrow(said);
      expect(() => smallConfig({ data: { path: text } })).toThrow(said);
    }
    expect(() => smallConfig({ checkpoint: { path: "runs/x" } })).toThrow("s3://bucket/prefix or file:///folder");
  });

  it("that holds credentials is refused, and what refuses it doesn't repeat them", () => {
    for (const text of ["s3://AKIAEXAMPLE:secret@bucket/x", "s3://bucket/x?X-Amz-Signature=secret", "file://user:secret@host/x"]) {
      expect(locatorProblem(text)).toMatch(/credentials/);
      expect(() => smallConfig({ data: { path: text } })).toThrow(/credentials/);
      try {
        smallConfig({ data: { path: text } });
      } catch (error) {
        expect((error as Error).message).not.toContain("secret");
      }
    }
    for (const endpoint of ["https://key:secret@host", "https://host?token=secret", "ftp://host", "host:9000"]) {
      const parsed = storageSchema.safeParse({ endpoint });
      expect(parsed.success, endpoint).toBe(false);
      expect(parsed.error?.message).not.toContain("secret");
    }
    expect(storageSchema.parse({ endpoint: "http://127.0.0.1:9000" }).endpoint).toBe("http://127.0.0.1:9000");
  });
});

describe("Amazon's SDK", () => {
  it("is loaded where a bucket is opened, and nowhere else", () => {
    const sources = readdirSync(join(packageRoot, "src"), { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".ts"));
    const named = sources.flatMap((path) =>
      [...readFileSync(join(packageRoot, "src", path), "utf8").matchAll(/^.*["']@(?:aws-sdk|smithy)\/.*$/gm)].map(
        ([line]) => `${path}: ${line.trim()}`,
      ),
    );
    expect(named).toEqual([
      'storage/s3-store.ts: import type * as Sdk from "@aws-sdk/client-s3";',
      'storage/s3-store.ts: const sdk = await import("@aws-sdk/client-s3");',
    ]);
  });
});
