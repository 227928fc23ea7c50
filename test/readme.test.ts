/** The README against the program: its examples run, its tables are complete, the folders it names are there. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { experimentNames, loadConfig } from "../src/config/load.js";
import { packageRoot } from "../src/util/package.js";

const readme = readFileSync(join(packageRoot, "README.md"), "utf8");

/** The text between a heading and the next of the same or a higher level. */
function section(heading: string): string {
  const from = readme.indexOf(`\n## ${heading}\n`);
  expect(from, heading).toBeGreaterThan(0);
  const to = readme.indexOf("\n## ", from + 4);
  return readme.slice(from, to < 0 ? undefined : to);
}

/** Code blocks of a text, by language ("" for none). */
function blocks(text: string, language: string): readonly string[] {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].filter((match) => match[1] === language).map((match) => match[2] ?? "");
}

/** First cells of the rows of all tables in a text. */
function firstCells(text: string): readonly string[] {
  const rows = text.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| ---"));
  return rows.map((line) => line.split(" | ")[0]?.slice(2) ?? "");
}

async function load(verb: string): Promise<Command> {
  const module: Record<string, unknown> = await import(`../src/cli/${verb}.ts`);
  return (module[`${verb}Command`] as () => Command)();
}

function verbsOfMain(): readonly string[] {
  return [...readFileSync(join(packageRoot, "src", "main.ts"), "utf8").matchAll(/name: "(\w+)"/g)].map((match) => match[1] ?? "");
}

describe("the README", () => {
  it("shows an experiment that is valid, and the error that a typing mistake really gives", () => {
    const text = section("Configuration");
    const [experiment = ""] = blocks(text, "yaml");
    const file = join(mkdtempSync(join(tmpdir(), "isoerg-readme-")), "mine.yaml");
    writeFileSync(file, experiment);
    expect(loadConfig({ source: file, env: {} }).config).toMatchObject({ name: "stronger-alignment", attack: { eps: 8 / 255, steps: 3 } });

    const [shown = ""] = blocks(text, "");
    const line = experiment.split("\n").indexOf("optimizer:") + 1;
    writeFileSync(file, experiment.replace("optimizer:", "optimiser:"));
    const said = (() => {
      try {
        loadConfig({ source: file, env: {} });
      } catch (error) {
        const { message, hint } = error as { message: string; hint: string };
        return `error: ${message.replace(file, "mine.yaml")}\nhint: ${hint}\n`;
      }
      return "";
    })();
    expect(said).toContain(`mine.yaml:${line}:1`);
    expect(shown).toBe(said);
  });

  it("names every ready-made experiment", () => {
    const named = firstCells(section("Configuration")).flatMap((cell) => /^`([\w-]+)`$/.exec(cell)?.[1] ?? []);
    expect([...named].sort()).toEqual([...experimentNames()].sort());
  });

  it("names every command", () => {
    const named = firstCells(section("Commands")).flatMap((cell) =>
      [...cell.matchAll(/isoerg (\w+)|\\\|(\w+)/g)].map((m) => m[1] ?? m[2] ?? ""),
    );
    const own = named.filter((word) => !["prepare", "publish", "inspect"].includes(word));
    expect([...own].sort()).toEqual([...verbsOfMain()].sort());
  });

  it("uses only options that the commands have", async () => {
    const lines = [...readme.matchAll(/npx isoerg ([^\n`]+)/g)].map((match) => (match[1] ?? "").split(/\s+/));
    expect(lines.length).toBeGreaterThan(8);
    for (const [verb = "", ...words] of lines) {
      const command = await load(verb);
      const inner = command.commands.find((child) => words.includes(child.name())) ?? command;
      const known = inner.options.flatMap((option) => option.long ?? []);
      for (const flag of words.filter((word) => word.startsWith("--"))) expect(known, `isoerg ${verb} ${flag}`).toContain(flag);
    }
  });

  it("draws a tree of files that exist, with every folder of src", () => {
    const tree = blocks(section("How it is built"), "").join("");
    const named = tree.split("\n").flatMap((line) => /^([\w./]+) {2,}/.exec(line)?.[1] ?? []);
    for (const path of named) expect(existsSync(join(packageRoot, path)), path).toBe(true);
    const folders = readdirSync(join(packageRoot, "src"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const expected = folders.map((entry) => `src/${entry.name}/`).filter((path) => !["src/util/", "src/setup/"].includes(path));
    expect(named).toEqual(expect.arrayContaining(expected));
  });

  it("links to files that exist", () => {
    const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map((match) => match[1] ?? "");
    expect(links.length).toBeGreaterThan(5);
    for (const link of links) expect(existsSync(join(packageRoot, link)), link).toBe(true);
  });

  it("gives a reason for every dependency", () => {
    const manifest = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as Record<string, Record<string, string>>;
    const all = ["dependencies", "optionalDependencies", "devDependencies"].flatMap((kind) => Object.keys(manifest[kind] ?? {}));
    const table = section("Dependencies");
    const missing = all.filter(
      (name) => !name.startsWith("@types/") && !table.includes(name) && !table.includes(name.replace("@tensorflow/tfjs", "")),
    );
    expect(missing).toEqual([]);
  });
});
