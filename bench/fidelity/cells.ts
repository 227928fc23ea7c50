/**
 * What is compared: data sets, methods, seeds. A cell is one training of one method on one data set with one seed, and its
 * evaluation; its configuration is the method's file with the data set's few settings.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { loadConfig } from "../../src/config/load.js";
import type { Config } from "../../src/config/schema.js";
import { packageRoot } from "../../src/util/package.js";

/** Changes when cells are computed or evaluated in another way: cells of another protocol are computed again. */
export const PROTOCOL = 1;

export interface DatasetPlan {
  readonly name: string;
  readonly title: string;
  /** For every method. */
  readonly overrides: readonly string[];
}

export const DATASETS: readonly DatasetPlan[] = [
  {
    name: "mnist",
    title: "MNIST, Linf 0.1",
    overrides: [
      "data.path=data/mnist",
      "data.subset=20000",
      "data.augment.flip=false",
      "model.stages=[{channels: 32, stride: 2}, {channels: 64, stride: 2}, {channels: 64}]",
      "attack.eps=0.1",
      "attack.stepSize=0.075",
      "evaluate.attack.eps=0.1",
      "evaluate.attack.stepSize=0.01",
    ],
  },
  { name: "cifar10", title: "CIFAR-10, Linf 8/255", overrides: ["data.path=data/cifar10"] },
];

export interface Method {
  readonly name: string;
  readonly title: string;
  /** On one data set only. */
  readonly overrides?: Readonly<Record<string, readonly string[]>>;
}

/** In the order of the table; each has a file of its name beside this one. */
export const METHODS: readonly Method[] = [
  { name: "standard", title: "standard" },
  { name: "pgd-at", title: "pgd-at (relu)" },
  { name: "smooth-at", title: "smooth-at (silu)" },
  { name: "trades", title: "trades (silu)" },
  { name: "jem", title: "jem" },
  { name: "dat", title: "dat" },
  { name: "eb-jdat-paper", title: "eb-jdat, paper", overrides: { mnist: ["attack.stepSize=0.025"] } },
  {
    name: "eb-jdat-as-released",
    title: "eb-jdat, as released",
    overrides: { mnist: ["attack.eps=0.05", "attack.stepSize=0.0125"] },
  },
  { name: "jdat-unaligned", title: "jdat, alignment off" },
  { name: "jdat", title: "jdat" },
];

/** The classifier whose features judge samples: ordinary training on the whole training split, its own seed. */
export const REFERENCE = "reference";
const REFERENCE_SEED = 1000;

export interface Cell {
  readonly dataset: string;
  readonly method: string;
  readonly seed: number;
}

export function cellName({ dataset, method, seed }: Cell): string {
  return method === REFERENCE ? `${dataset}/${method}` : `${dataset}/${method}/${seed}`;
}

/** @throws IsoergError CONFIG */
export function configOf({ dataset, method, seed }: Cell): Config {
  const plan = DATASETS.find(({ name }) => name === dataset);
  const found = METHODS.find(({ name }) => name === method);
  if (!plan || (!found && method !== REFERENCE)) throw new Error(`no cell ${dataset}/${method}`);
  const isReference = method === REFERENCE;
  const source = join(packageRoot, "bench", "fidelity", `${isReference ? "standard" : method}.yaml`);
  const own = isReference ? ["data.subset=null", "epochs=3", `seed=${REFERENCE_SEED}`] : [`seed=${seed}`];
  return loadConfig({ source, overrides: [...plan.overrides, ...(found?.overrides?.[dataset] ?? []), ...own], env: {} }).config;
}

/** Of all that a cell's figures depend on, as far as this bench knows it. */
export function fingerprint(cell: Cell): string {
  return createHash("sha256")
    .update(JSON.stringify([PROTOCOL, configOf(cell)]))
    .digest("hex")
    .slice(0, 16);
}

/** All cells, seed by seed, so that a bench that is cut short has whole tables of fewer seeds. Of a seed the dearest come first. */
export function allCells(numSeeds: number): Cell[] {
  const cells: Cell[] = [];
  for (let seed = 1; seed <= numSeeds; seed++) {
    for (const { name: dataset } of [...DATASETS].reverse()) {
      for (const { name: method } of [...METHODS].reverse()) cells.push({ dataset, method, seed });
    }
  }
  return cells;
}
