/**
 * What `npm test` runs: every test/**\/*.test.ts but the slow suites and tfjs-core's own conformance suite, which are their own
 * scripts. Packages stay with Node's own resolution (no `alias`, no `inline`): a test and the engines share one tfjs-core.
 */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: process.env.ISOERG_SLOW === undefined ? ["test/**/*.test.ts"] : ["test/slow/**/*.test.ts"],
    exclude: process.env.ISOERG_SLOW === undefined ? ["test/slow/**", "test/conformance/**"] : [],
    pool: "forks", // engines hold native state per process
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
