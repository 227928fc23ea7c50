/** A study that tests put on a cluster: what it searches, and the configuration of each of its trials. */
import type { Config } from "../../src/config/schema.js";
import type { Point } from "../../src/sweep/space.js";
import { sweepSchema } from "../../src/sweep/spec.js";
import { quickstart } from "./rendered.js";

export const DIGEST = "0123456789abcdef";
export const spec = sweepSchema.parse({
  name: "tune",
  experiment: "quickstart",
  space: { "optimizer.lr": { "log-uniform": [1e-3, 1e-2] } },
  search: { kind: "tpe", trials: 7, startup: 3 },
  schedule: { kind: "asha", min: 0.5 },
  epochs: 4.5,
  metric: { name: "robust" },
  seeds: 2,
  parallel: 3,
});
export const configOf = (point: Point, seed: number): Config => ({
  ...quickstart,
  data: { ...quickstart.data, path: "data/it costs $(HOME) and $$1" },
  seed,
  optimizer: { ...quickstart.optimizer, lr: point["optimizer.lr"] as number } as Config["optimizer"],
});

/** The experiment where its data are in a bucket. */
export const inBucket: Config = {
  ...quickstart,
  data: { ...quickstart.data, path: "s3://models/cifar10" },
  storage: { ...quickstart.storage, endpoint: "http://10.0.7.1:9000", cacheMiB: 100 },
};
