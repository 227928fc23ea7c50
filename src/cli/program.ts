/**
 * The `isoerg` command: finds the verb, loads that verb's file and no other, and turns how it ended into an exit status.
 * What a verb does stands in src/cli/<verb>.ts; which verbs there are stands in src/main.ts.
 */
import { Command, CommanderError, Option } from "commander";
import { IsoergError } from "../util/error.js";
import { didYouMean } from "../util/nearest.js";
import { packageVersion } from "../util/package.js";
import { describeFailure, exitStatus } from "./fail.js";
import { spokenHelp } from "./help.js";

export interface Verb {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  readonly load: () => Promise<Command>;
}

export interface Terminal {
  readonly out: (text: string) => void;
  readonly error: (text: string) => void;
  readonly color: boolean;
}

const realTerminal: Terminal = {
  out: (text) => process.stdout.write(text),
  error: (text) => process.stderr.write(text),
  color: process.stderr.isTTY === true && process.env.NO_COLOR === undefined,
};

/**
 * Runs one command line (without `node` and the script). Never throws: failures are written to `terminal.error`.
 * @returns the exit status: 0 success, 2 usage or configuration, 1 anything else.
 */
export async function runProgram(verbs: readonly Verb[], args: readonly string[], terminal: Terminal = realTerminal): Promise<number> {
  if (terminal === realTerminal) endWithTheReader();
  try {
    const program = await buildProgram(verbs, args, terminal);
    if (args.length === 0) {
      program.outputHelp({ error: true });
      return 2;
    }
    await program.parseAsync([...args], { from: "user" });
    return 0;
  } catch (error) {
    const status = exitStatus(error);
    const isHelp = error instanceof CommanderError && (status === 0 || error.code === "commander.help");
    if (!isHelp) terminal.error(describeFailure(error, { verbose: args.includes("--verbose"), color: terminal.color }));
    return status;
  }
}

/** `isoerg ... | head`: whoever reads has seen enough, and that is no failure. */
function endWithTheReader(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
}

async function buildProgram(verbs: readonly Verb[], args: readonly string[], terminal: Terminal): Promise<Command> {
  const program = new Command("isoerg")
    .description("Trains one classifier that classifies, resists attack and generates, over one machine or many.")
    .version(packageVersion(), "-V, --version")
    .helpCommand("help [command]", "show the help of a command")
    .addHelpText(
      "after",
      "\nExample:\n  $ isoerg train quickstart --workers 2 --run runs/quickstart\n\nEach command explains itself: isoerg train --help",
    );
  const wanted = wantedVerb(verbs, args);
  for (const verb of verbs) {
    program.addCommand(verb === wanted ? await verb.load() : new Command(verb.name).description(verb.summary));
  }
  prepare(program, terminal);
  return program;
}

/** The verb that the command line names, if it names one. @throws IsoergError USAGE for a word that is none. */
function wantedVerb(verbs: readonly Verb[], args: readonly string[]): Verb | undefined {
  const words = args.filter((arg) => !arg.startsWith("-"));
  const name = args[0] === "help" ? words[1] : words[0];
  if (name === undefined) return undefined;
  const verb = verbs.find((candidate) => candidate.name === name);
  if (verb !== undefined) return verb;
  const names = verbs.map((candidate) => candidate.name);
  throw new IsoergError("USAGE", `unknown command '${name}'${didYouMean(name, names)}`, { hint: `commands: ${names.join(", ")}` });
}

/** commander does not hand its settings down to commands that were made apart, so each is told. */
function prepare(command: Command, terminal: Terminal): void {
  command
    .exitOverride()
    .configureHelp(spokenHelp)
    .configureOutput({ writeOut: terminal.out, writeErr: terminal.error, outputError: () => undefined });
  if (!command.options.some((option) => option.long === "--verbose")) {
    command.addOption(new Option("--verbose", "show the causes of an error and where it happened").helpGroup("Options:"));
  }
  for (const child of command.commands) prepare(child, terminal);
}
