// @ts-check
/**
 * What `npm test` does after set-up: type check, lint, layers, tests. All run, also when one has failed; the last line says
 * how many passed and failed, each check counting as one test.
 */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { root, runStep, tool } from "./child.mjs";

/** @typedef {{ passed: number, failed: number, skipped: number }} Count */

const resultFile = join(root, "build", "vitest.json");

/**
 * @param {{ compiles: boolean, bridge: "built" | "absent" | "broken" }} before whether the sources passed their own type check,
 * and what became of the torch bridge: one that can't be built where it should is a failure
 * @returns {Promise<number>} the exit status
 */
export async function runTests({ compiles, bridge }) {
  const checks = [
    { name: "type check of the tests", args: [tool("typescript", "bin/tsc"), "-p", "test"] },
    { name: "lint and format", args: [tool("@biomejs/biome", "bin/biome"), "check", "."] },
    { name: "layers", args: [join("test", "layers.mjs")] },
  ];
  /** @type {Count} */
  const total = { passed: 0, failed: 0, skipped: 0 };
  /** @type {string[]} */
  const broken = [];
  /** @type {(name: string, passed: boolean) => void} */
  const note = (name, passed) => {
    if (passed) total.passed++;
    else total.failed++;
    if (!passed) broken.push(name);
  };
  note("type check", compiles);
  if (bridge === "absent") total.skipped++;
  else note("torch bridge", bridge === "built");
  for (const { name, args } of checks) {
    process.stdout.write(`\n== ${name}\n`);
    note(name, (await runStep(process.execPath, args)) === 0);
  }
  process.stdout.write("\n== tests\n");
  add(total, await runVitest(process.env));
  if (broken.length > 0) process.stdout.write(`not passed: ${broken.join(", ")}\n`);
  return close(total);
}

/** @returns {Promise<number>} the exit status */
export async function runSlowSuites() {
  return close(await runVitest({ ...process.env, ISOERG_SLOW: "1" }));
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<Count>}
 */
async function runVitest(env) {
  mkdirSync(dirname(resultFile), { recursive: true });
  rmSync(resultFile, { force: true });
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${resultFile}`];
  const status = await runStep(process.execPath, [tool("vitest", "vitest.mjs"), "run", ...reporters], { env });
  const count = { passed: 0, failed: 0, skipped: 0 };
  try {
    const result = JSON.parse(readFileSync(resultFile, "utf8"));
    count.passed = result.numPassedTests;
    count.failed = result.numFailedTests;
    count.skipped = result.numPendingTests + result.numTodoTests;
  } catch {
    // no result: the runner itself ended early, which its status tells
  }
  if (status !== 0 && count.failed === 0) count.failed = 1; // a file that could not be loaded, an error outside a test
  return count;
}

/**
 * @param {Count} total
 * @param {Count} more
 */
function add(total, more) {
  total.passed += more.passed;
  total.failed += more.failed;
  total.skipped += more.skipped;
}

/** @param {Count} count */
function close({ passed, failed, skipped }) {
  process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`);
  return failed === 0 && passed > 0 ? 0 : 1;
}
