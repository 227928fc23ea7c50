/** Options of data and checkpoints outside the run's own claims, the same for runs and for trials of a sweep. */
import { isIP } from "node:net";
import { type Command, InvalidArgumentError } from "commander";
import { type K8sOptions, type Network, NO_BUCKET, type SharedClaim } from "../../k8s/options.js";

export interface PlaceFlags {
  readonly bucketSecret?: string;
  readonly bucketWorkerSecret?: string;
  readonly bucketAccount?: string;
  readonly bucketCidr?: readonly Network[];
  readonly bucketPort?: number;
  readonly bucketCa?: string;
  readonly sharedClaim?: SharedClaim;
}

const HEADING = "On Kubernetes, where data or checkpoints are at s3://bucket/prefix or file:///folder:";

/** Under a heading of their own. */
export function addPlaceOptions(command: Command, of: "trials" | "coordinator and workers"): Command {
  command
    .optionsGroup(HEADING)
    .option("--bucket-secret <name>", `Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for ${of}`);
  if (of !== "trials")
    command.option("--bucket-worker-secret <name>", "another Secret for the workers, who only read the data set (default: the same)");
  return command
    .option("--bucket-account <name>", "instead of a Secret: ServiceAccount to which the cloud gives rights on the bucket")
    .option(
      "--bucket-cidr <cidr[:port],...>",
      "addresses of the store that pods may reach, 0.0.0.0/0 for any public one (default: from storage.endpoint, where it tells them)",
      parseNetworks,
    )
    .option("--bucket-port <n>", "port of the store's pods, where a Service has another (default: the endpoint's)", parsePort)
    .option("--bucket-ca <name>", "ConfigMap with ca.crt, where no public authority vouches for the store")
    .option(
      "--shared-claim <name[:folder]>",
      "for file:///folder: claim of a volume that all nodes mount, and where (default: the folder above the places)",
      parseSharedClaim,
    );
}

export function placesOf(flags: PlaceFlags): Pick<K8sOptions, "bucket" | "sharedClaim"> {
  const { bucketSecret, bucketWorkerSecret, bucketAccount, bucketCidr, bucketPort, bucketCa, sharedClaim } = flags;
  return {
    bucket: {
      secret: bucketSecret ?? NO_BUCKET.secret,
      workerSecret: bucketWorkerSecret ?? NO_BUCKET.workerSecret,
      account: bucketAccount ?? NO_BUCKET.account,
      networks: bucketCidr ?? NO_BUCKET.networks,
      port: bucketPort ?? NO_BUCKET.port,
      ca: bucketCa ?? NO_BUCKET.ca,
    },
    sharedClaim: sharedClaim ?? null,
  };
}

/** For commander: `10.0.5.0/24:9000,fd00::/8`. */
export function parseNetworks(text: string): readonly Network[] {
  return text.split(",").map((word) => {
    const [, address = "", length, port] = /^([^/]+)\/(\d{1,3})(?::(\d{1,5}))?$/.exec(word.trim()) ?? [];
    const family = isIP(address);
    const isPort = port === undefined || (Number(port) >= 1 && Number(port) <= 65_535);
    if (family === 0 || Number(length) > (family === 4 ? 32 : 128) || !isPort)
      throw new InvalidArgumentError(`'${word}' is no CIDR, as 10.0.5.0/24 or 10.0.5.7/32:9000 is.`);
    return { cidr: `${address}/${Number(length)}`, port: port === undefined ? null : Number(port) };
  });
}

/** For commander. */
function parsePort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new InvalidArgumentError("It takes a port, from 1 to 65535.");
  return port;
}

/** For commander: `team-volume` or `team-volume:/mnt/shared`. */
export function parseSharedClaim(text: string): SharedClaim {
  const colon = text.indexOf(":");
  if (colon < 0) return { name: text, folder: null };
  const folder = text.slice(colon + 1).replace(/(?<=.)\/+$/, "");
  if (!folder.startsWith("/")) throw new InvalidArgumentError("It takes NAME, or NAME:/folder.");
  return { name: text.slice(0, colon), folder };
}
