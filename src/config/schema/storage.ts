/**
 * `storage`: how data and checkpoints on S3-compatible storage, or on a shared volume, are reached. Nothing of it changes results.
 * Credentials are not among it: they come from the environment, a profile or the machine's role, on each machine for itself.
 */
import { z } from "zod";

export const storageSchema = z
  .strictObject({
    endpoint: z
      .string()
      .refine(isEndpoint, "an address such as https://minio.example:9000, without credentials in it")
      .nullable()
      .default(null)
      .describe("of an S3-compatible store; null for AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, else Amazon's"),
    region: z.string().min(1).nullable().default(null).describe("null for AWS_REGION, AWS_DEFAULT_REGION or the profile's"),
    pathStyle: z
      .boolean()
      .nullable()
      .default(null)
      .describe("the bucket's name in the path rather than before the host; null: so wherever an endpoint is given"),
    cache: z
      .string()
      .nullable()
      .default(null)
      .describe("folder where a host keeps shards that it has read; null for `shards` in ISOERG_CACHE, else in ~/.cache/isoerg"),
    cacheMiB: z.int().nonnegative().default(10_240).describe("that the folder never exceeds; 0 keeps nothing on disk"),
    ahead: z.int().nonnegative().default(3).describe("shards that a worker reads ahead of their step, beside those in use"),
    attempts: z.int().positive().default(10).describe("of a request, before it counts as failed"),
    maxDelay: z.number().nonnegative().default(20).describe("between attempts, in seconds; they begin at 0.2 and double"),
    timeout: z.number().positive().default(60).describe("of one attempt, in seconds"),
  })
  .prefault({});

export type StorageConfig = z.infer<typeof storageSchema>;

function isEndpoint(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, search, hash } = new URL(text);
  return (protocol === "http:" || protocol === "https:") && username === "" && password === "" && search === "" && hash === "";
}
