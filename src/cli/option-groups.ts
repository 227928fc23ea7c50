/** Options of a command that does its work in several places: each place's under a heading of its own, refused for the others. */
import type { Command } from "commander";
import { IsoergError } from "../util/error.js";

/** Adds options under a heading. @returns their names */
export function groupOf(command: Command, heading: string, add: (command: Command) => Command): ReadonlySet<string> {
  const before = command.options.length;
  add(command.optionsGroup(heading));
  return new Set(command.options.slice(before).map((option) => option.attributeName()));
}

/** @throws IsoergError USAGE for an option that was given and belongs elsewhere */
export function refuseStray(command: Command, others: ReadonlySet<string>, place: string): void {
  const stray = [...others].find((option) => command.getOptionValueSource(option) === "cli");
  if (stray !== undefined) throw new IsoergError("USAGE", `--${kebab(stray)} is not for --on ${place}`);
}

function kebab(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
