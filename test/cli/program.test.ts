import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { describeFailure, exitStatus } from "../../src/cli/fail.js";
import { runProgram, type Verb } from "../../src/cli/program.js";
import { type ErrorCode, IsoergError } from "../../src/util/error.js";

/** Runs a command line against verbs that only tell what became of them. */
async function run(...args: string[]) {
  const seen: string[] = [];
  const verb = (name: string, action: (options: { workers?: string }) => void): Verb => ({
    name,
    summary: `about ${name}`,
    load: async () => {
      seen.push(`loaded ${name}`);
      return new Command(name)
        .description(`all about ${name}`)
        .option("--workers <n>")
        .action((options: { workers?: string }) => action(options));
    },
  });
  const verbs = [
    verb("train", ({ workers }) => {
      seen.push(`train ${workers}`);
    }),
    verb("evaluate", () => {
      throw new IsoergError("DATA", "no data set in data/none", { hint: "isoerg data prepare", cause: new Error("ENOENT") });
    }),
    verb("crash", () => {
      throw new TypeError("x is not a function");
    }),
  ];
  let out = "";
  let error = "";
  const status = await runProgram(verbs, args, { out: (text) => (out += text), error: (text) => (error += text), color: false });
  return { status, out, error, seen };
}

describe("the isoerg command", () => {
  it("loads the file of the verb that is asked for, and no other", async () => {
    const { status, seen } = await run("train", "--workers", "2");
    expect(status).toBe(0);
    expect(seen).toEqual(["loaded train", "train 2"]);
  });

  it("lists every verb with its line", async () => {
    const { status, out, seen } = await run("--help");
    expect(status).toBe(0);
    expect(out).toMatch(/train \[options\] +about train/);
    expect(out).toMatch(/evaluate \[options\] +about evaluate/);
    expect(seen).toEqual([]);
  });

  it.each([[["train", "--help"]], [["help", "train"]]])("shows a verb's own help for %j", async (args) => {
    const { status, out } = await run(...args);
    expect(status).toBe(0);
    expect(out).toContain("all about train");
    expect(out).toContain("--workers <n>");
  });

  it("without a verb shows the help and ends with 2", async () => {
    const { status, out, error } = await run();
    expect(status).toBe(2);
    expect(out).toBe("");
    expect(error).toContain("Commands:");
  });

  it("with a wrong verb ends with 2 and names the nearest", async () => {
    const { status, error, seen } = await run("trian", "quickstart");
    expect(status).toBe(2);
    expect(error).toBe("error: unknown command 'trian'; did you mean 'train'?\nhint: commands: train, evaluate, crash\n");
    expect(seen).toEqual([]);
  });

  it("with a wrong option ends with 2 and names the nearest", async () => {
    const { status, error } = await run("train", "--wrokers", "2");
    expect(status).toBe(2);
    expect(error).toContain("error: unknown option '--wrokers'");
    expect(error).toContain("--workers");
  });

  it("shows an error's message and hint, and its causes when asked", async () => {
    const plain = await run("evaluate");
    expect(plain.status).toBe(2);
    expect(plain.error).toContain("error: no data set in data/none\nhint: isoerg data prepare\n");
    expect(plain.error).not.toContain("ENOENT");
    const verbose = await run("evaluate", "--verbose");
    expect(verbose.status).toBe(2);
    expect(verbose.error).toContain("caused by: ENOENT");
    expect(verbose.error).toContain("program.test.ts");
  });

  it("ends with 1 for a bug", async () => {
    const { status, error } = await run("crash");
    expect(status).toBe(1);
    expect(error).toContain("error: x is not a function");
  });
});

describe("the exit status", () => {
  it.each<[ErrorCode, number]>([
    ["USAGE", 2],
    ["CONFIG", 2],
    ["DATA", 2],
    ["CHECKPOINT", 2],
    ["ENGINE", 1],
    ["NETWORK", 1],
    ["PROTOCOL", 1],
    ["DIVERGED", 1],
    ["STOPPED", 1],
  ])("of %s is %i", (code, status) => {
    expect(exitStatus(new IsoergError(code, "x"))).toBe(status);
  });
});

describe("a failure's text", () => {
  it("is coloured on a terminal only", () => {
    const error = new IsoergError("NETWORK", "port 4000 is in use", { hint: "take another" });
    expect(describeFailure(error, { verbose: false, color: true })).toBe(
      "\u001b[31merror:\u001b[0m port 4000 is in use\n\u001b[36mhint:\u001b[0m take another\n",
    );
    expect(describeFailure("text", { verbose: true, color: false })).toBe("error: text\n");
  });
});
