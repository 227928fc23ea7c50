// @ts-check
/**
 * A reporter of Vitest that says at the end of a run what has failed, and nothing else: a block for each failed test, for a hook
 * or file that failed outside any test, and for an error that nothing caught. A block's first line is `FAILED: file > full
 * name`, the lines below are indented: `.ci/run` collects such blocks from all suites and repeats them where a log ends.
 */
import { relative } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { root } from "./child.mjs";

/** @typedef {{ file: string, line: number }} Place */
/** @typedef {{ message: string, stacks?: readonly Place[], cause?: Failure }} Failure */

const LINES_OF_MESSAGE = 10;
const LINE_LENGTH = 300;

export default class FailedTests {
  /**
   * @param {readonly import("vitest/node").TestModule[]} modules
   * @param {readonly import("vitest/node").SerializedError[]} uncaught
   */
  onTestRunEnd(modules, uncaught) {
    for (const block of blocksOf(modules, uncaught)) process.stdout.write(block);
  }
}

/**
 * @param {readonly import("vitest/node").TestModule[]} modules
 * @param {readonly import("vitest/node").SerializedError[]} uncaught
 */
function* blocksOf(modules, uncaught) {
  for (const module of modules) {
    const file = module.relativeModuleId;
    yield* module.errors().map((error) => block(file, error));
    for (const suite of module.children.allSuites()) {
      yield* suite.errors().map((error) => block(`${file} > ${suite.fullName}`, error));
    }
    for (const test of module.children.allTests("failed")) {
      yield* (test.result().errors ?? []).map((error) => block(`${file} > ${test.fullName}`, error));
    }
  }
  yield* uncaught.map((error) => block("an error outside any test", error));
}

/**
 * The first line and, indented, the beginning of the error's message, of its cause's, and the place in the checkout.
 * @param {string} name
 * @param {Failure} error
 */
function block(name, { message, stacks = [], cause }) {
  const place = [...(cause?.stacks ?? []), ...stacks].find(({ file }) => !file.includes("node_modules"));
  const lines = [
    ...beginning(message, LINES_OF_MESSAGE),
    ...(cause?.message ? beginning(`because: ${cause.message}`, LINES_OF_MESSAGE / 2) : []),
    ...(place ? [`at ${relative(root, place.file)}:${place.line}`] : []),
  ];
  return `FAILED: ${name}\n${lines.map((line) => `    ${line}\n`).join("")}`;
}

/**
 * @param {string} text
 * @param {number} numLines
 */
function beginning(text, numLines) {
  const lines = stripVTControlCharacters(text).split("\n");
  return lines
    .filter((line) => line.trim() !== "")
    .slice(0, numLines)
    .map((line) => line.slice(0, LINE_LENGTH));
}
