// @ts-check
/**
 * Runs the suite that @tensorflow/tfjs-core ships for backends against the torch backend.
 *
 *   npm run test:conformance                  all specs; ends with `N passed, N failed, N skipped`
 *   node test/conformance/run.mjs conv2d      only specs whose name contains this
 *
 * Excluded specs, and those that the suite itself has switched off, stand in exclusions.mjs, each with its reason; a failure or a
 * switched-off spec that is not listed ends with exit code 1, and so does a listed spec that no longer exists. Without a libtorch nothing is run, which is said, with exit code 0.
 */
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { buildBridge } from "../../src/engine/torch/build.mjs";
import { exclusions, pending } from "./exclusions.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..");
const say = (/** @type {string} */ line) => process.stdout.write(`${line}\n`);

const only = process.argv[2];
const bridge = buildBridge({ log: say });
if (!bridge.ok) {
  say(`conformance not run: ${bridge.reason} (${bridge.hint})`);
  process.exit(0);
}
process.env.ISOERG_CONFORMANCE_BRIDGE = bridge.path;
const bundle = join(root, "build", "conformance", "spec.cjs");
mkdirSync(dirname(bundle), { recursive: true });
await build({
  entryPoints: [join(here, "entry.ts")],
  outfile: bundle,
  bundle: true,
  platform: "node",
  format: "cjs",
  mainFields: ["module", "main"], // one copy of tfjs-core, the one with ES modules
  ignoreAnnotations: true, // tfjs-core declares its tests free of side effects: they would be shaken away
  external: ["jasmine", "jasmine-core"],
  define: { "import.meta.url": "moduleUrl" },
  banner: { js: 'const moduleUrl = require("url").pathToFileURL(__filename).href;' },
  logLevel: "error",
});

/** @type {Set<string>} */
const unseen = new Set([...exclusions, ...pending].map(({ spec }) => spec));
let passed = 0;
let failed = 0;
let numExcluded = 0;
let numPending = 0;

const Jasmine = createRequire(import.meta.url)("jasmine");
const runner = new Jasmine();
runner.exitOnCompletion = false;
runner.randomizeTests(false); // the suite depends on its order
runner.clearReporters();
runner.addReporter({
  /** @param {{ fullName: string, status: string, failedExpectations: { message: string, stack?: string }[] }} result */
  specDone({ fullName, status, failedExpectations }) {
    const excluded = exclusions.find(({ spec }) => fullName === spec);
    const off = pending.find(({ spec }) => fullName === spec);
    unseen.delete(fullName);
    if (status === "excluded") return; // not asked for
    if (status === "pending" && off) {
      numPending++;
      say(`pending in the suite itself: ${fullName}\n    ${off.reason}`);
    } else if (status === "passed" && !excluded) passed++;
    else if (excluded && status !== "pending") {
      numExcluded++;
      say(`excluded: ${fullName}\n    ${excluded.reason}${status === "passed" ? " (it passes here)" : ""}`);
    } else {
      failed++;
      say(`FAILED: ${fullName}\n    ${(failedExpectations[0]?.message ?? `${status}, and not listed`).split("\n")[0]}`);
      if (process.env.STACK) say(failedExpectations[0]?.stack ?? "");
    }
  },
});
runner.specFiles = [bundle];
const overall = await runner.execute(undefined, only);
if (!only) {
  for (const spec of unseen) {
    failed++;
    say(`FAILED: the listed spec '${spec}' does not exist`);
  }
}
if (overall.overallStatus === "failed" && passed + failed === 0) failed++; // the suite itself did not load
say(`skipped: ${numExcluded} excluded, ${numPending} pending in the suite itself`);
say(`${passed} passed, ${failed} failed, ${numExcluded + numPending} skipped`);
process.exit(failed === 0 ? 0 : 1);
