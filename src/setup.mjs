// @ts-check
/**
 * From a fresh clone to a working checkout, then to work: `npm start` and `npm test` come here. Plain JavaScript without
 * dependencies, because nothing is installed yet. Each step says in a line what it is about to install or build and skips
 * what is there, so that the second run goes to work at once.
 *
 *   node src/setup.mjs            set up, nothing else       start    ... then the quickstart
 *   node src/setup.mjs link       only make `npx isoerg` work    test     ... then the type check, lint, layers and tests
 *                                                            slow, fuzz, properties
 *                                                                   ... then the suite of that name
 *
 * ISOERG_NO_APT=1 never touches system packages; ISOERG_APT=1 allows them to a user who is not root and may sudo.
 */
import { chmodSync, existsSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { installSystemPackages } from "./setup/apt.mjs";
import { runSuite, runTests, suites } from "./setup/checks.mjs";
import { root, runStep, SetupError, say, tool } from "./setup/child.mjs";
import { installPackages } from "./setup/npm.mjs";

const task = process.argv[2] ?? "set-up";

try {
  await main();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`set-up failed: ${error.message}\nwhat to do: ${error.hint}\n`);
  process.exit(1);
}

async function main() {
  const suite = Object.hasOwn(suites, task) ? suites[task] : undefined;
  if (suite === undefined && !["set-up", "link", "start", "test"].includes(task)) {
    throw new SetupError(`'${task}' is no task of set-up`, `one of: start, test, ${Object.keys(suites).join(", ")}, link, or none`);
  }
  if (Number(process.versions.node.split(".")[0]) < 20) {
    throw new SetupError(`Node ${process.versions.node} is too old`, "install Node 20 or newer");
  }
  if (task === "link") return linkCommand();
  await installPackages();
  await installSystemPackages();
  const compiles = await compile();
  linkCommand();
  const bridge = await buildTorchBridge();
  await buildSharedMemory();
  if (task === "test") process.exit(await runTests({ compiles, bridge }));
  if (suite !== undefined) process.exit(await runSuite(suite));
  if (task === "start") await quickstart();
}

/** TypeScript to dist/; the compiler itself knows what has changed. */
async function compile() {
  if (!existsSync(join(root, "dist", "src", "main.js"))) say("compiling TypeScript to dist/");
  const status = await runStep(process.execPath, [tool("typescript", "bin/tsc"), "-p", "."]);
  // `npm test` goes on, to tell what else is wrong.
  if (status !== 0 && task !== "test") throw new SetupError("the sources do not compile", "the compiler's messages stand above");
  return status === 0;
}

/** `npx isoerg` and `npm run` find the checkout's own command where they find those of packages. */
function linkCommand() {
  const folder = join(root, "node_modules", ".bin");
  const link = join(folder, "isoerg");
  const target = join(root, "dist", "src", "main.js");
  if (existsSync(target)) chmodSync(target, 0o755);
  if (existsSync(link)) return;
  mkdirSync(folder, { recursive: true });
  rmSync(link, { force: true }); // one that leads nowhere
  symlinkSync(join("..", "..", "dist", "src", "main.js"), link);
}

/**
 * The torch engine's native part. Without it everything works, on the portable engine.
 * @returns {Promise<"built" | "absent" | "broken">} broken: there is a libtorch and a compiler, and they don't make it
 */
async function buildTorchBridge() {
  const { buildBridge, compilerVersion, findLibtorch } = await import("./engine/torch/build.mjs");
  const built = buildBridge({ log: say });
  if (built.ok) return "built";
  say(`no torch engine (${built.reason}): the portable engine takes its place, several times slower. To have it: ${built.hint}`);
  return findLibtorch().ok && compilerVersion() !== undefined ? "broken" : "absent";
}

/** Memory that worker processes of one machine share; without it they sum through ZeroMQ. */
async function buildSharedMemory() {
  const { buildHostMemory } = await import("./collective/native/build.mjs");
  const built = buildHostMemory({ log: say });
  if (!built.ok) say(`workers of this machine share no memory (${built.reason}): sums between them take longer. To have it: ${built.hint}`);
}

/** In this very process, so that Ctrl-C reaches the training and nothing between. */
async function quickstart() {
  const program = join(root, "dist", "src", "main.js");
  process.chdir(root);
  process.argv = [process.execPath, program, "quickstart", ...process.argv.slice(3)];
  await import(pathToFileURL(program).href);
}
