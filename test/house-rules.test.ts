/** Habits of this code that no tool holds by itself. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../src/util/package.js";

const sources = readdirSync(join(packageRoot, "src"), { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .map((path) => ({ path, text: readFileSync(join(packageRoot, "src", path), "utf8") }));

function filesWith(pattern: RegExp): readonly string[] {
  return sources.filter(({ text }) => pattern.test(text)).map(({ path }) => path);
}

describe("the sources", () => {
  it("begin with a comment that says what the file is", () => {
    const without = sources.filter(({ text }) => !/^(#!.*\n)?\/\*\*/.test(text)).map(({ path }) => path);
    expect(without).toEqual([]);
  });

  it("print only in src/cli", () => {
    const printing = filesWith(/\bconsole\.\w+\(|process\.(stdout|stderr)\.write/).filter((path) => !path.startsWith("cli/"));
    expect(printing).toEqual([]);
  });

  it("end the process only in src/cli and src/main.ts", () => {
    const ending = filesWith(/process\.exit\(/).filter((path) => !path.startsWith("cli/") && path !== "main.ts");
    expect(ending).toEqual([]);
  });
});
