// @ts-check
/**
 * What the steps of set-up share: where the checkout lies, how a step speaks, how it runs another program.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout's folder. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A step that can't go on, and what a person can do about it. */
export class SetupError extends Error {
  /**
   * @param {string} message
   * @param {string} hint
   */
  constructor(message, hint) {
    super(message);
    this.hint = hint;
  }
}

/** @param {string} line */
export function say(line) {
  process.stdout.write(`set-up: ${line}\n`);
}

/**
 * Path of a program inside an installed package.
 * @param {string} name
 * @param {string} path
 */
export function tool(name, path) {
  const file = join(root, "node_modules", name, path);
  if (!existsSync(file)) throw new SetupError(`${name} is not installed`, "remove node_modules and run the command again");
  return file;
}

/**
 * Runs a program to its end with the terminal as its own, in the checkout. An interrupt from the terminal reaches it
 * directly; a signal sent to this process alone is passed on.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<number>} its exit status; 128 + n when signal n ended it
 */
export function runStep(command, args, { env = process.env } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env, stdio: ["ignore", "inherit", "inherit"] });
    const wait = () => {
      if (process.stdout.isTTY !== true) child.kill("SIGINT");
    };
    const pass = () => child.kill("SIGTERM");
    process.on("SIGINT", wait).on("SIGTERM", pass);
    const done = () => process.off("SIGINT", wait).off("SIGTERM", pass);
    child.on("error", (cause) => {
      done();
      reject(new SetupError(`${command} can't be run: ${cause.message}`, "see whether it is installed and in PATH"));
    });
    child.on("close", (code, signal) => {
      done();
      if (signal === "SIGINT") process.exit(130);
      if (signal === "SIGTERM") process.exit(143);
      resolve(code ?? 1);
    });
  });
}
