/**
 * Compares the methods on MNIST and a small CIFAR-10 model over several seeds: accuracy, robustness, samples and energy gaps, and the
 * verdict on each claim. Each finished cell is a file, so a bench that was stopped goes on where it was.
 *
 *   node dist/bench/fidelity.js [--out runs/fidelity] [--seeds 3] [--processes 2] [--only cifar10/jem,mnist]
 *
 * One thread for each process. Writes OUT/fidelity.md and OUT/fidelity.json from all cells that are finished.
 */
import { spawn } from "node:child_process";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startEngine } from "../src/engine/choose.js";
import { allCells, type Cell, cellName, DATASETS, REFERENCE } from "./fidelity/cells.js";
import { computeCell } from "./fidelity/compute-cell.js";
import { markdownOf } from "./fidelity/markdown.js";
import { hasReference } from "./fidelity/reference.js";
import { type CellResult, readResult, writeWhole } from "./fidelity/results.js";
import { Table } from "./fidelity/summary.js";
import { decide } from "./fidelity/verdicts.js";

const { values } = parseArgs({
  options: {
    out: { type: "string", default: join("runs", "fidelity") },
    seeds: { type: "string", default: "3" },
    processes: { type: "string", default: "2" },
    only: { type: "string", default: "" },
    cell: { type: "string" },
  },
});
const folder = values.out;
const wanted = values.only.split(",").filter((word) => word !== "");
const cells = allCells(Number(values.seeds)).filter(
  (cell) => wanted.length === 0 || wanted.some((word) => `${cellName(cell)}/`.startsWith(`${word}/`)),
);

if (values.cell === undefined) await computeAll();
else await computeOne(values.cell);

/** In a process of its own: `dataset/method/seed`. */
async function computeOne(name: string): Promise<void> {
  const [dataset = "", method = "", seed = "0"] = name.split("/");
  const engine = await startEngine({ engine: "auto", device: "cpu", threads: 1 });
  await computeCell(folder, { dataset, method, seed: Number(seed) }, engine);
}

async function computeAll(): Promise<void> {
  const references: Cell[] = [];
  for (const { name: dataset } of DATASETS) {
    const reference = { dataset, method: REFERENCE, seed: 0 };
    if (!cells.some((cell) => cell.dataset === dataset)) continue;
    if (!hasReference(folder, dataset) || (await readResult(folder, reference)) === null) references.push(reference);
  }
  const left: Cell[] = [];
  for (const cell of cells)
    if (references.some(({ dataset }) => dataset === cell.dataset) || (await readResult(folder, cell)) === null) left.push(cell);
  say(`${cells.length - left.length} of ${cells.length} cells are there; ${left.length} to compute, with ${values.processes} processes`);
  const failed = [...(await inProcesses(references)), ...(await inProcesses(left))];
  await summarise();
  if (failed.length > 0) {
    say(`not computed: ${failed.join(", ")}`);
    process.exitCode = 1;
  }
}

/** @returns names of the cells whose process failed */
async function inProcesses(queue: readonly Cell[]): Promise<string[]> {
  const waiting = [...queue];
  const failed: string[] = [];
  let done = 0;
  const since = performance.now();
  const work = async (): Promise<void> => {
    for (let cell = waiting.shift(); cell; cell = waiting.shift()) {
      const name = cellName(cell);
      const code = await run(["--cell", cell.method === REFERENCE ? `${cell.dataset}/${REFERENCE}/0` : name, "--out", folder]);
      if (code !== 0) failed.push(name);
      done++;
      const minutes = (performance.now() - since) / 60_000;
      const result = await readResult(folder, cell);
      const { figures } = result ?? { figures: null };
      const what = figures
        ? `clean ${(100 * figures.clean).toFixed(1)} %, APGD ${(100 * figures.apgd).toFixed(1)} %`
        : (result?.failure ?? (code === 0 ? "trained" : `ended with ${code}`));
      say(
        `${done} of ${queue.length}  ${name}: ${what}  (${minutes.toFixed(1)} min, about ${((minutes / done) * (queue.length - done)).toFixed(0)} left)`,
      );
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Number(values.processes)) }, work));
  return failed;
}

function run(words: readonly string[]): Promise<number | null> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), ...words], { stdio: ["ignore", "ignore", "inherit"] });
  return new Promise((resolve) => child.once("close", resolve));
}

async function summarise(): Promise<void> {
  const results: CellResult[] = [];
  for (const cell of allCells(Number(values.seeds))) {
    const result = await readResult(folder, cell);
    if (result) results.push(result);
  }
  const decisions = DATASETS.map(({ name }) => ({
    dataset: name,
    claims: decide(new Table(results.filter(({ dataset }) => dataset === name))),
  }));
  const machine = { processor: cpus()[0]?.model ?? "unknown", cores: cpus().length, processes: Number(values.processes) };
  await writeWhole(join(folder, "fidelity.json"), `${JSON.stringify({ machine, decisions, results }, null, 1)}\n`);
  await writeWhole(join(folder, "fidelity.md"), markdownOf(results));
  say(`${join(folder, "fidelity.md")}, ${join(folder, "fidelity.json")}: ${results.length} cells`);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
