/** A server of the tests' own, and stores over it that lose no time between attempts. */
import { onTestFinished } from "vitest";
import { storageSchema } from "../../src/config/schema/storage.js";
import type { StorageConfig } from "../../src/config/schema.js";
import type { ObjectStore } from "../../src/storage/object-store.js";
import { openS3Store } from "../../src/storage/s3-store.js";
import { BUCKET, type S3Server, startS3Server } from "../kit/s3-server.js";

/** A server that ends with the test, and the environment of this process that leads the SDK to it. */
export async function s3ForTest(options: { pageSize?: number } = {}): Promise<S3Server> {
  const server = await startS3Server(options);
  const before = Object.fromEntries(Object.keys(server.env).map((name) => [name, process.env[name]]));
  Object.assign(process.env, server.env);
  onTestFinished(async () => {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    await server.close();
  });
  return server;
}

export async function openForTest(
  server: S3Server,
  options: { prefix?: string; attempts?: number; timeoutMs?: number; onRetry?: (message: string) => void } = {},
): Promise<ObjectStore> {
  const { prefix = "a/b", attempts = 4, timeoutMs = 20_000, onRetry } = options;
  const store = await openS3Store(
    { kind: "s3", bucket: BUCKET, prefix },
    {
      endpoint: server.endpoint,
      region: null,
      pathStyle: null,
      retrying: { policy: { attempts, baseMs: 0, capMs: 0 }, timeoutMs, ...(onRetry && { onRetry }) },
    },
  );
  onTestFinished(() => store.close());
  return store;
}

export function storageOf(server: S3Server, cache: string, over: Partial<StorageConfig> = {}): StorageConfig {
  return { ...storageSchema.parse({ endpoint: server.endpoint, cache, maxDelay: 0, attempts: 4 }), ...over };
}
