/** What `--help` says of every option of every command: choices and defaults as they are typed, each told once. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Argument, type Command, Option } from "commander";
import { describe, expect, it } from "vitest";
import { spokenHelp } from "../../src/cli/help.js";
import { packageRoot } from "../../src/util/package.js";

/** The commands of a file of src/cli, those below them included. */
async function commandsOf(file: string): Promise<readonly Command[]> {
  const exports = (await import(/* @vite-ignore */ `../../src/cli/${file.replace(/\.ts$/, ".js")}`)) as Record<string, unknown>;
  const made = Object.entries(exports).flatMap(([name, value]) => (name.endsWith("Command") ? [(value as () => Command)()] : []));
  const withChildren = (command: Command): Command[] => [command, ...command.commands.flatMap(withChildren)];
  return made.flatMap(withChildren);
}

const described = (item: Option | Argument): string =>
  item instanceof Option ? (spokenHelp.optionDescription?.(item) ?? "") : (spokenHelp.argumentDescription?.(item) ?? "");

describe("the help of every command", () => {
  it("shows defaults as a person types them, and none twice", async () => {
    const files = readdirSync(join(packageRoot, "src", "cli")).filter((file) => file.endsWith(".ts"));
    const commands = (await Promise.all(files.map(commandsOf))).flat();
    expect(commands.map((command) => command.name())).toEqual(expect.arrayContaining(["train", "coordinator", "analyze", "allreduce"]));
    const told = commands.flatMap((command) =>
      [...command.options, ...command.registeredArguments].map((item) => `${command.name()} ${item.name()}: ${described(item)}`),
    );
    expect(told.length).toBeGreaterThan(200);
    for (const text of told) {
      expect(text, "a default as the program holds it").not.toMatch(/default: (["[{]|null|undefined|true|false|\[object)/);
      expect(text.split("default:").length, text).toBeLessThanOrEqual(2);
    }
    expect(told).toContainEqual(expect.stringMatching(/^train workers: .*\(default: 1\)$/));
    expect(told).toContainEqual(expect.stringMatching(/^allreduce sizes: .*\(default: 256,4K,64K,256K,1M,4M,16M,64M,146M\)$/));
  });

  it.each([
    ["one of (choices: p, q; default: p)", new Option("--a <x>", "one of").choices(["p", "q"]).default("p")],
    ["some (default: 2,4)", new Option("--a <list>", "some").default([2, 4])],
    ["some", new Option("--a <x...>", "some").default([])],
    ["a switch", new Option("--a", "a switch").default(false)],
    ["many (default: 0)", new Option("--a <n>", "many").default(0)],
    ["many (default: the run's)", new Option("--a <n>", "many").default(undefined, "the run's")],
    ["many (default: 1)", new Option("--a <n>", "many").default({ held: 1 }, "1")],
    ["a name (default: b)", new Argument("[a]", "a name").default("b")],
  ])("says: %s", (text, item) => {
    expect(described(item)).toBe(text);
  });
});
