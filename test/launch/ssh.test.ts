/** What the ssh launcher decides and writes: the host file, what is done about exits, and the script that starts a process there. */
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { afterExit, MAX_FAILURES } from "../../src/launch/ssh/after-exit.js";
import { bootstrapScript, type RemoteProcess, remoteCommand, standardInput, TERM_LINE } from "../../src/launch/ssh/bootstrap.js";
import { destinationOf, parseHosts, placesOf } from "../../src/launch/ssh/hosts.js";
import * as fc from "../kit/property.js";

describe("a host file", () => {
  it("gives users, ports, slots and what a host's workers are to use", () => {
    const hosts = parseHosts(
      "# two machines\nada\n\n  root@10.0.0.7  slots=2 port=2222 device=cuda threads=3 address=10.1.0.7 # GPUs\n",
      "hosts",
    );
    expect(hosts).toEqual([
      { host: "ada", user: null, port: null, slots: 1, device: null, threads: null, address: null },
      { host: "10.0.0.7", user: "root", port: 2222, slots: 2, device: "cuda", threads: 3, address: "10.1.0.7" },
    ]);
    expect(placesOf(hosts).map(({ id }) => id)).toEqual(["ada", "10.0.0.7-0", "10.0.0.7-1"]);
    expect(hosts.map(destinationOf)).toEqual([["ada"], ["-p", "2222", "root@10.0.0.7"]]);
  });

  it.each([
    ["", "hosts names no host"],
    ["ada\nada slots=2", "hosts:2: ada stands there twice"],
    ["-oProxyCommand=evil", "hosts:1: '-oProxyCommand=evil' is no [user@]host"],
    ["-l@ada", "hosts:1: '-l@ada' is no [user@]host"],
    ["ada;reboot", "is no [user@]host"],
    ["ada slots=0", "hosts:1: slots takes a whole number from 1 on, not '0'"],
    ["ada port=70000", "port takes a whole number"],
    ["ada gpus=2", "hosts:1: unknown setting 'gpus=2'"],
    ["ada device=tpu", "device is cpu, cuda or cuda:N, not 'tpu'"],
  ])("is refused with its line: %j", (text, message) => {
    expect(() => parseHosts(text, "hosts")).toThrow(message);
  });

  it("never lets a word through that ssh would take for an option", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (text) => {
        try {
          for (const word of parseHosts(text, "hosts").flatMap(destinationOf)) expect(word).toMatch(/^(-p|\d+|[A-Za-z0-9_][^\s;|&$`'"]*)$/);
        } catch (error) {
          expect((error as Error).message).toMatch(/^hosts/);
        }
      }),
    );
  });
});

describe("a worker process that ended", () => {
  const exit = (code: number | null, lastWords = "") => ({ code, signal: code === null ? "SIGKILL" : null, lastWords });
  it.each([
    [0, "over"],
    [2, "hopeless"],
    [127, "hopeless"],
    [75, "again"],
    [143, "again"],
    [1, "again"],
    [255, "again"],
    [null, "again"],
  ])("with %j: %s", (code, kind) => {
    expect(afterExit(exit(code), { failures: 0 }).kind).toBe(kind);
  });

  it("is started again a little later each time, and given up after too many failures; 75 and 143 cost nothing", () => {
    const waits = Array.from({ length: MAX_FAILURES }, (_, failures) => afterExit(exit(1), { failures }));
    expect(waits.map((next) => next.kind === "again" && [next.afterMs, next.counts])).toEqual([
      [1000, true],
      [2000, true],
      [4000, true],
    ]);
    expect(afterExit(exit(1, "no such device"), { failures: MAX_FAILURES })).toEqual({
      kind: "givenUp",
      reason: `failed ${MAX_FAILURES + 1} times, at last ended with 1: no such device`,
    });
    expect(afterExit(exit(143), { failures: MAX_FAILURES })).toMatchObject({ kind: "again", counts: false });
  });
});

/** Runs a remote process here, as sshd would: the command given to a shell. */
function runHere(remote: RemoteProcess, env: Record<string, string> = {}) {
  const script = bootstrapScript(remote);
  const child = spawn("sh", ["-c", remoteCommand(script)], { env: { ...process.env, ...env } });
  child.stdin.on("error", () => {});
  child.stdin.write(standardInput(script, remote.files));
  let [out, error] = ["", ""];
  const waiting: { text: string; resolve: () => void }[] = [];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    error += text;
    for (const { text: wanted, resolve } of waiting) if (error.includes(wanted)) resolve();
  });
  return {
    stdin: child.stdin,
    said: (text: string) => (error.includes(text) ? Promise.resolve() : new Promise<void>((resolve) => waiting.push({ text, resolve }))),
    ended: new Promise<{ code: number | null; out: string; error: string }>((resolve) =>
      child.once("close", (code) => resolve({ code, out, error })),
    ),
  };
}

const remote = (over: Partial<RemoteProcess>): RemoteProcess => ({
  words: ["true"],
  files: {},
  slots: 1,
  threads: 1,
  graceSeconds: 1,
  ...over,
});
const folder = () => mkdtempSync(join(tmpdir(), "isoerg-ssh-"));
const program = (text: string): string => {
  const path = join(folder(), "program");
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
};

describe("a process started over ssh", () => {
  it("has its words as they were written, its files in a private folder, its log as output, and its exit status", async () => {
    const base = folder();
    const files = { token: "se cret\\n$HOME `x`", "ca.pem": "one\n\n|two\n.\n" };
    const words = [
      program(
        'stat -c %a "$2" "$2/token" >&2; cat "$2/ca.pem" "$2/token" >&2; echo "{\\"a\\":1}" >"$2/log"; printf "%s;" "$@" >&2; exit 7',
      ),
      "it's $HOME",
      "@FILES@",
      "--threads=@THREADS@",
    ];
    const { code, out, error } = await runHere(remote({ words, files, threads: 3 }), { XDG_RUNTIME_DIR: base }).ended;
    expect(code).toBe(7);
    expect(out).toBe('{"a":1}\n');
    const lines = error.split("\n");
    expect(lines.slice(0, 2)).toEqual(["700", "600"]);
    expect(lines.slice(2, 7)).toEqual(["one", "", "|two", ".", files.token]);
    expect(lines[7]).toMatch(/^it's \$HOME;\S+isoerg\.\w+;--threads=3;$/);
    expect(readdirSync(base)).toEqual([]);
  });

  it("shows nothing of itself on the command line", () => {
    const secret = "a-very-secret-token";
    const script = bootstrapScript(remote({ words: ["isoerg", "worker", "--coordinator", "10.0.0.5:7070"] }));
    expect(remoteCommand(script)).toMatch(/^exec sh -c 'eval "\$\(dd bs=1 count=\d+ 2>\/dev\/null\)"'$/);
    expect(script).not.toContain(secret);
    expect(standardInput(script, { token: secret })).toContain(secret);
  });

  it("hears SIGTERM by a line, and ends with the process's own status", async () => {
    const run = runHere(
      remote({ words: [program("trap 'exit 143' TERM; echo ready >&2; while :; do sleep 0.05; done")], graceSeconds: 60 }),
    );
    await run.said("ready");
    run.stdin.write(TERM_LINE);
    expect((await run.ended).code).toBe(143);
  });

  it("ends when the connection does, by SIGKILL where it won't otherwise", async () => {
    const mark = join(folder(), "terminated");
    const run = runHere(remote({ words: [program(`trap 'touch ${mark}' TERM; echo ready >&2; while :; do sleep 0.05; done`)] }));
    await run.said("ready");
    run.stdin.end();
    expect((await run.ended).code).toBe(137);
    expect(existsSync(mark)).toBe(true);
  });

  it("that can't be found ends with 127", async () => {
    expect((await runHere(remote({ words: ["/nowhere/isoerg"] })).ended).code).toBe(127);
  });

  it("reads under another shell as well: what the login shell sees has one pair of quotes and no line break", () => {
    const command = remoteCommand(bootstrapScript(remote({})));
    expect(command.split("'")).toHaveLength(3);
    expect(command).not.toMatch(/[\n!]/);
  });
});
