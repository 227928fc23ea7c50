import { describe, expect, it } from "vitest";
import { importsOf, violations } from "./layers.mjs";

const graph = (edges: Record<string, string[]>) => new Map(Object.entries(edges));

describe("the layer check", () => {
  it("accepts imports from the same layer and from below", () => {
    expect(violations(graph({ "cli/train.ts": ["train/step.ts"], "train/step.ts": ["util/error.ts"], "util/error.ts": [] }))).toEqual([]);
  });

  it("finds an import from above", () => {
    expect(violations(graph({ "util/error.ts": ["cli/fail.ts"], "cli/fail.ts": [] }))).toEqual([
      "src/util/error.ts imports src/cli/fail.ts: 'util' lies below 'cli'",
    ]);
  });

  it("finds a circle", () => {
    const [found] = violations(graph({ "data/a.ts": ["data/b.ts"], "data/b.ts": ["data/c.ts"], "data/c.ts": ["data/a.ts"] }));
    expect(found).toBe("imports go in a circle: src/data/a.ts -> src/data/b.ts -> src/data/c.ts -> src/data/a.ts");
  });

  it("finds two folders of one layer that know each other both ways", () => {
    const found = violations(graph({ "data/a.ts": ["engine/b.ts"], "engine/b.ts": [], "engine/c.ts": ["data/d.ts"], "data/d.ts": [] }));
    expect(found).toEqual([expect.stringContaining("'data' and 'engine' know each other both ways")]);
  });

  it("finds an import of what is not there, and a folder without a layer", () => {
    expect(violations(graph({ "stuff/a.ts": ["util/none.ts"] }))).toHaveLength(2);
  });

  it("sees every form of import and no comment", () => {
    const text = `import a from "./a.js";\nimport "./b.js";\nexport { c } from '../c.js';\nawait import("./d.js");\n// import "./no.js";\n/* from "./no.js" */ import x from "zod";`;
    expect(importsOf(text)).toEqual(["./a.js", "./b.js", "../c.js", "./d.js"]);
  });
});
