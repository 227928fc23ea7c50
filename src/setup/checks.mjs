// @ts-check
/**
 * What `npm test` does after set-up: type check, lint, layers, tests. All run, also when one has failed; the last lines say
 * what failed (`FAILED: ...`) and how many passed and failed, each check counting as one test. The suites that `npm test`
 * leaves out and Vitest runs end in the same way.
 */
import { randomInt } from "node:crypto";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { root, runStep, tool } from "./child.mjs";

/** @typedef {{ passed: number, failed: number, skipped: number }} Count */
/** @typedef {{ env?: NodeJS.ProcessEnv, command?: readonly string[] }} Suite */

const resultFile = join(root, "build", "vitest.json");
const failedTests = join(root, "src", "setup", "failed-tests.mjs");

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
  const broken = []; // told again at the end: what they said stands far above
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
  add(total, await runVitest({}));
  for (const name of broken) process.stdout.write(`FAILED: ${name}\n`);
  return close(total);
}

/**
 * The suites of their own: what they add to the environment, where it doesn't say otherwise, and what Vitest is asked to do.
 * @type {Readonly<Record<string, Suite>>}
 */
export const suites = {
  slow: { env: { ISOERG_SLOW: "1" } },
  fuzz: { env: { ISOERG_FUZZ_INPUTS: "100000" }, command: ["run", "test/fuzz"] },
  // New values for every property, many more than `npm test` takes (test/kit/property.ts).
  properties: {
    env: { ISOERG_PROPERTY_SEED: String(randomInt(2 ** 31)), ISOERG_PROPERTY_RUNS: "20" },
    command: ["related", "test/kit/property.ts", "--run", "--testTimeout=600000"],
  },
};

/**
 * @param {Suite} suite
 * @returns {Promise<number>} the exit status
 */
export async function runSuite(suite) {
  return close(await runVitest(suite));
}

/**
 * @param {Suite} suite
 * @returns {Promise<Count>}
 */
async function runVitest({ env = {}, command = ["run"] }) {
  mkdirSync(dirname(resultFile), { recursive: true });
  rmSync(resultFile, { force: true });
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${resultFile}`, `--reporter=${failedTests}`];
  const all = { ...env, ...process.env };
  for (const name of Object.keys(env)) process.stdout.write(`${name}=${all[name]}\n`); // what it takes to do the same again
  const status = await runStep(process.execPath, [tool("vitest", "vitest.mjs"), ...command, ...reporters], { env: all });
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
