/** How a failure is told where a log ends: by Vitest's runs, in blocks, and by `.ci/run`, which repeats those of all suites. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packageRoot } from "../../src/util/package.js";

const folder = mkdtempSync(join(tmpdir(), "isoerg-ci-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a run of Vitest", () => {
  const planted = join(packageRoot, "build", `planted-${process.pid}`); // within the checkout, whose packages it imports
  beforeAll(() => mkdirSync(planted, { recursive: true }));
  afterAll(() => rmSync(planted, { recursive: true, force: true }));

  it("names each test, hook, file and stray error that failed, with the beginning of what it said", () => {
    writeFileSync(
      join(planted, "tests.test.ts"),
      `import fc from "fast-check";
       import { beforeAll, describe, expect, it } from "vitest";
       describe("a group", () => {
         it("passes", () => {});
         it("fails", () => expect([1, 2]).toEqual([1, 3]));
         it("has a property", () => fc.assert(fc.property(fc.constant(10), (n) => { expect(n).toBeLessThan(10); })));
       });
       describe("a hook", () => {
         beforeAll(() => { throw new Error("not prepared"); });
         it("is not run", () => {});
       });
       it("leaves something behind", () => new Promise((resolve) => {
         setImmediate(() => { setImmediate(resolve); throw new Error("late"); });
       }));`,
    );
    writeFileSync(join(planted, "broken.test.ts"), `throw new Error("does not load");`);
    const reporter = join(packageRoot, "src", "setup", "failed-tests.mjs");
    const config = join(planted, "vitest.config.mjs");
    writeFileSync(config, `export default { test: { include: ["**/*.test.ts"], reporters: [${JSON.stringify(reporter)}] } };`);
    const vitest = join(packageRoot, "node_modules", "vitest", "vitest.mjs");
    const { status, stdout } = spawnSync(process.execPath, [vitest, "run", "--config", config, "--root", planted], { encoding: "utf8" });
    const blocks = stdout.split(/^(?=FAILED: )/m).filter((block) => block.startsWith("FAILED: "));
    const told = (name: string): string =>
      blocks.find((block) => block.startsWith(`FAILED: ${name}\n`)) ?? `nothing of ${name} in ${stdout}`;
    expect(status).toBe(1);
    expect(blocks).toHaveLength(5);
    expect(told("tests.test.ts > a group > fails")).toMatch(/^ {4}expected \[ 1, 2 \] to deeply equal \[ 1, 3 \]\n {4}at build\/.*:5\n$/m);
    expect(told("tests.test.ts > a group > has a property")).toMatch(
      /^ {4}\{ seed: .*Counterexample: \[10\].*because: expected 10.*:6\n$/ms,
    );
    expect(told("tests.test.ts > a hook")).toMatch(/^ {4}not prepared\n/m);
    expect(told("broken.test.ts")).toMatch(/^ {4}does not load\n/m);
    expect(told("an error outside any test")).toMatch(/^ {4}late\n/m);
  });
});

describe(".ci/run", () => {
  /** Runs it with an npm that says what `answers` has for a script and ends with its status; other scripts say `1 passed, 0 failed`. */
  function run(answers: Readonly<Record<string, { says: string; status: number }>>): { status: number | null; lines: string[] } {
    for (const [script, { says, status }] of Object.entries(answers)) {
      writeFileSync(join(folder, script), says);
      writeFileSync(join(folder, `${script}.status`), String(status));
    }
    const npm = `#!/bin/sh
      script=$1; [ "$1" != run ] || script=$3
      cd '${folder}'
      if [ -f "$script" ]; then cat "$script"; exit "$(cat "$script.status")"; fi
      echo "$script has run"; echo "1 passed, 0 failed"\n`;
    writeFileSync(join(folder, "npm"), npm, { mode: 0o755 });
    const env = { ...process.env, ISOERG_NO_APT: "1", PATH: `${folder}${delimiter}${process.env.PATH}` };
    const { status, stdout } = spawnSync("bash", [join(packageRoot, ".ci", "run")], { encoding: "utf8", env });
    for (const script of Object.keys(answers)) rmSync(join(folder, script));
    return { status, lines: stdout.trimEnd().split("\n") };
  }

  it("ends with the sum of all suites", () => {
    const { status, lines } = run({ test: { says: "12 passed, 0 failed, 3 skipped\n", status: 0 } });
    expect(status).toBe(0);
    expect(lines.slice(-2)).toEqual(["", "17 passed, 0 failed"]);
    for (const script of ["test:conformance", "test:fuzz", "test:chaos", "test:soak", "test:slow"])
      expect(lines).toContain(`${script} has run`);
  });

  it("says before the sum what each suite named as failed, and the end of one that named nothing", () => {
    const { status, lines } = run({
      test: { says: "much\nFAILED: a.test.ts > b\n    expected 1\n    at a.test.ts:7\n11 passed, 1 failed\n", status: 1 },
      "test:chaos": {
        says: "ok    1.0 s  one\nFAIL  2.0 s  two\n       a step was lost\nok    3.0 s  three\n2 passed, 1 failed\n",
        status: 1,
      },
      "test:soak": { says: "Error: no coordinator\n    at soak.mjs:3\n", status: 9 },
    });
    expect(status).toBe(1);
    expect(lines.slice(lines.lastIndexOf("")).map((line) => line.replace(/after \d+ s$/, "after T s"))).toEqual([
      "",
      "=== tests: failed with 1 after T s",
      "FAILED: a.test.ts > b",
      "    expected 1",
      "    at a.test.ts:7",
      "=== faults, one by one: failed with 1 after T s",
      "FAIL  2.0 s  two",
      "       a step was lost",
      "=== faults at random, in one run: failed with 9 after T s",
      "Error: no coordinator",
      "    at soak.mjs:3",
      "16 passed, 2 failed",
    ]);
  });

  it("fails when a suite ends badly and counts nothing", () => {
    const { status, lines } = run({ "test:soak": { says: "", status: 1 } });
    expect(status).toBe(1);
    expect(lines.at(-1)).toBe("5 passed, 1 failed");
  });
});
