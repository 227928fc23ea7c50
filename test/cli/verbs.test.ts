/** The real binary: every verb of the list explains itself, and mistakes end with 2. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { packageRoot, packageVersion } from "../../src/util/package.js";

interface Ended {
  readonly status: number;
  readonly out: string;
  readonly error: string;
}

async function isoerg(...args: string[]): Promise<Ended> {
  const env = { ...process.env, NO_COLOR: "1", COLUMNS: "100" };
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [join(packageRoot, "dist", "src", "main.js"), ...args], { env });
    return { status: 0, out: stdout, error: stderr };
  } catch (cause) {
    const { code, stdout, stderr } = cause as { code: number; stdout: string; stderr: string };
    return { status: code, out: stdout, error: stderr };
  }
}

async function verbs(): Promise<readonly string[]> {
  const { out } = await isoerg("--help");
  const list = out.slice(out.indexOf("Commands:")).split("\n");
  return list.flatMap((line) => /^ {2}([a-z0-9]+) \[options\]/.exec(line)?.[1] ?? []);
}

describe("isoerg", () => {
  it("explains every verb of its list, with an example", async () => {
    const names = await verbs();
    expect(names).toEqual(expect.arrayContaining(["quickstart", "doctor", "data", "train", "evaluate", "report"]));
    for (const name of names) {
      const { status, out } = await isoerg(name, "--help");
      expect({ name, status }).toEqual({ name, status: 0 });
      expect(out).toContain(`isoerg ${name}`);
      expect(out, `${name} --help`).toMatch(/Examples?:/);
    }
  });

  it("tells its version", async () => {
    expect(await isoerg("--version")).toEqual({ status: 0, out: `${packageVersion()}\n`, error: "" });
  });

  it("ends with 2 for a verb that is none", async () => {
    const { status, error } = await isoerg("evalaute");
    expect(status).toBe(2);
    expect(error).toContain("did you mean 'evaluate'?");
  });

  it("ends with 2 for an unknown key, and says where it stands", async () => {
    const { status, error } = await isoerg("train", "quickstart", "optimiser.lr=1", "--print-config");
    expect(status).toBe(2);
    expect(error).toContain("command line optimiser.lr=1: unknown key 'optimiser'; did you mean 'optimizer'?");
  });

  it("prints a configuration with the origin of each value", async () => {
    const { status, out } = await isoerg("train", "quickstart", "seed=7", "--print-config");
    expect(status).toBe(0);
    expect(out).toMatch(/^seed: 7 +# command line seed=7$/m);
    expect(out).toMatch(/quickstart\.yaml:\d+:\d+$/m);
  });
});
