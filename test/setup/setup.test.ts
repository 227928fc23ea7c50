import { execFileSync, spawnSync } from "node:child_process";
import { lstatSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { permission } from "../../src/setup/apt.mjs";
import { whatIsMissing } from "../../src/setup/npm.mjs";
import { packageRoot, packageVersion } from "../../src/util/package.js";

describe("the npm packages", () => {
  const wanted = {
    "": { version: "0.1.0" },
    "node_modules/a": { version: "1.0.0" },
    "node_modules/a/node_modules/@scope/b": { version: "2.0.0" },
    "node_modules/elsewhere": { version: "3.0.0", optional: true },
  };
  const installed = { "node_modules/a": { version: "1.0.0" }, "node_modules/a/node_modules/@scope/b": { version: "2.0.0" } };
  const all = () => true;

  it("are taken as they are when they are those of the lockfile; optional ones may be absent", () => {
    expect(whatIsMissing(wanted, installed, all)).toBeUndefined();
  });

  it("are installed when there are none, one is gone, or one is of another version", () => {
    expect(whatIsMissing(wanted, undefined, all)).toBe("none are there yet");
    expect(whatIsMissing(wanted, { "node_modules/a": { version: "1.0.0" } }, all)).toBe("@scope/b is missing");
    expect(whatIsMissing(wanted, installed, (path) => path !== "node_modules/a")).toBe("a is missing");
    expect(whatIsMissing(wanted, { ...installed, "node_modules/a": { version: "0.9.0" } }, all)).toBe("a is 0.9.0, 1.0.0 is wanted");
  });
});

describe("system packages", () => {
  const yes = () => true;

  it("are installed by root, or with ISOERG_APT=1 and a sudo that asks nothing", () => {
    expect(permission({ env: {}, uid: 0, canSudo: yes })).toEqual([]);
    expect(permission({ env: { ISOERG_APT: "1" }, uid: 1000, canSudo: yes })).toEqual(["sudo", "-n"]);
  });

  it("are left alone otherwise, and the reason is said", () => {
    expect(permission({ env: { ISOERG_NO_APT: "1" }, uid: 0, canSudo: yes })).toBe("ISOERG_NO_APT=1");
    expect(permission({ env: { ISOERG_NO_APT: "1", ISOERG_APT: "1" }, uid: 1000, canSudo: yes })).toBe("ISOERG_NO_APT=1");
    expect(permission({ env: {}, uid: 1000, canSudo: yes })).toContain("not root");
    expect(permission({ env: { ISOERG_APT: "1" }, uid: 1000, canSudo: () => false })).toContain("password");
  });
});

describe("node src/setup.mjs", () => {
  const setup = (task: string) => spawnSync(process.execPath, [join(packageRoot, "src", "setup.mjs"), task], { encoding: "utf8" });

  it("makes `npx isoerg` work in the checkout", () => {
    expect(setup("link").status).toBe(0);
    const link = join(packageRoot, "node_modules", ".bin", "isoerg");
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(execFileSync(link, ["--version"], { encoding: "utf8" })).toBe(`${packageVersion()}\n`);
  });

  it("refuses a task that it does not know", () => {
    const { status, stderr } = setup("strat");
    expect(status).toBe(1);
    expect(stderr).toBe(
      "set-up failed: 'strat' is no task of set-up\nwhat to do: one of: start, test, slow, fuzz, properties, link, or none\n",
    );
  });
});
