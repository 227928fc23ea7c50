/**
 * `isoerg launch --on ssh` as people run it: real processes, with a stand-in for ssh that runs the command here, and with a real
 * sshd on loopback where there is one.
 */
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { auditJournal } from "../../src/coordinator/audit.js";
import { readJournal } from "../../src/coordinator/journal.js";
import { isoerg, prepareExperiment, type RunningProgram, whenGone } from "../kit/cluster.js";
import { freePorts } from "../kit/free-ports.js";

vi.setConfig({ testTimeout: 300_000 }); // seconds of work, in processes that others may crowd out

const NUM_STEPS = 24;
let folder: string;
let experiment: string;
let standIn: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "isoerg-launch-"));
  experiment = await prepareExperiment(folder, { epochs: 2 });
  standIn = join(folder, "ssh-here");
  // Writes down what anybody on the machine could see; fails once for hosts called flaky.
  writeFileSync(
    standIn,
    `#!/bin/sh
printf '%s\\n' "$*" >>"${folder}/command-lines"
for last; do :; done
case "$1" in
  flaky*) if [ ! -e "${folder}/$1" ]; then touch "${folder}/$1"; echo "ssh: connect to host $1 port 22: Connection refused" >&2; exit 255; fi ;;
esac
exec sh -c "$last"
`,
  );
  chmodSync(standIn, 0o755);
  writeFileSync(join(folder, "refuses"), "#!/bin/sh\necho no such engine >&2\nexit 2\n", { mode: 0o755 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function launch(run: string, hosts: string, ...words: string[]): RunningProgram & { said(text: string): Promise<void> } {
  const file = join(folder, `${run}.hosts`);
  writeFileSync(file, hosts);
  const running = isoerg(
    ...["launch", experiment, "--on", "ssh", "--hosts", file, "--run", join(folder, run), "--engine", "cpu", "--threads", "1"],
    ...(words.includes("--ssh") ? [] : ["--ssh", standIn]),
    ...words,
  );
  let error = "";
  const waiting: { text: string; resolve: () => void }[] = [];
  running.process.stderr?.on("data", (text: string) => {
    error += text;
    for (const { text: wanted, resolve } of waiting) if (error.includes(wanted)) resolve();
  });
  return {
    ...running,
    said: (text) => (error.includes(text) ? Promise.resolve() : new Promise((resolve) => waiting.push({ text, resolve }))),
  };
}

const logOf = (run: string, worker: string) =>
  readFileSync(join(folder, run, "logs", `worker-${worker}.jsonl`), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { pid: number });

describe("a run over ssh", () => {
  it("is saved and ended by Ctrl-C, goes on by the same command, and shows no secret on a command line", async () => {
    const loopback = ["--listen", "127.0.0.1:0"];
    const first = launch("whole", "ada\nbob\n", ...loopback);
    await first.said("step ");
    first.process.kill("SIGINT");
    const stopped = await first.ended;
    expect({ ...stopped }).toMatchObject({ code: 0, error: expect.stringContaining("SIGINT: saving after the step under way") });
    for (const worker of ["ada", "bob"]) await whenGone(logOf("whole", worker)[0]?.pid as number);

    const second = await launch("whole", "ada\nbob\n", ...loopback).ended;
    expect({ ...second }).toMatchObject({ code: 0 });
    const { lines } = await readJournal(join(folder, "whole"));
    expect(auditJournal(lines)).toMatchObject({ faults: [] });
    expect(auditJournal(lines).commits).toHaveLength(NUM_STEPS);
    expect(lines.at(-1)).toMatchObject({ event: "end", outcome: "finished" });

    const seen = readFileSync(join(folder, "command-lines"), "utf8").trim().split("\n");
    expect(seen.length).toBeGreaterThanOrEqual(4);
    for (const line of seen) expect(line).toMatch(/^(ada|bob) exec sh -c 'eval "\$\(dd bs=1 count=\d+ 2>\/dev\/null\)"'$/);
  });

  it("takes its workers with it when it is killed, and starts a host again whose connection failed", async () => {
    const running = launch("killed", "flaky slots=2\n", "--listen", "127.0.0.1:0");
    await running.said("[flaky-0] ssh: connect to host flaky port 22: Connection refused");
    await running.said("started again in 1 s");
    await running.said("step ");
    running.process.kill("SIGKILL");
    await running.ended;
    for (const worker of ["flaky-0", "flaky-1"]) await whenGone(logOf("killed", worker)[0]?.pid as number);
  });

  it.each([
    ["that isn't there", () => "/nowhere/isoerg", /worker ada: isoerg can't be run there: ended with 127/],
    [
      "that refuses what it is asked",
      () => join(folder, "refuses"),
      /\[ada\] no such engine\n[\s\S]*worker ada: ended with 2: no such engine/,
    ],
  ])("ends with 2 and says why, with a program %s", async (_what, program, message) => {
    const { code, error } = await launch("wrong", "ada\n", "--listen", "127.0.0.1:0", "--program", program()).ended;
    expect({ code, error }).toMatchObject({ code: 2, error: expect.stringMatching(message) });
  });

  it.each([
    [["--hosts", "/nowhere/hosts"], /the host file \/nowhere\/hosts can't be read/],
    [["--image", "isoerg:cpu"], /--image is not for --on ssh/],
    [["--token-file", "/nowhere"], /--token-file goes with --tls/],
    [["--min-workers", "3"], /--min-workers 3 is more than --workers 1/],
  ])("refuses %j before anything is made", async (words, message) => {
    const { code, error } = await launch("refused", "ada\n", ...words).ended;
    expect({ code, error }).toMatchObject({ code: 2, error: expect.stringMatching(message) });
    expect(existsSync(join(folder, "refused"))).toBe(false);
  });
});

const sshd = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"].find(existsSync);

describe("a run over a real sshd", () => {
  it("trains on loopback with two workers", async ({ skip }) => {
    if (sshd === undefined) return skip("no sshd is installed here");
    const keys = join(folder, "keys");
    mkdirSync(keys, { mode: 0o700 });
    for (const name of ["host", "user"]) execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(keys, name)]);
    const port = await freePorts(1);
    const config = join(keys, "sshd_config");
    writeFileSync(
      config,
      `Port ${port}
ListenAddress 127.0.0.1
HostKey ${join(keys, "host")}
AuthorizedKeysFile ${join(keys, "user.pub")}
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
`,
    );
    if (userInfo().uid === 0) mkdirSync("/run/sshd", { recursive: true });
    const server = spawn(sshd, ["-D", "-e", "-f", config], { stdio: ["ignore", "ignore", "pipe"] });
    try {
      let said = "";
      await new Promise<void>((resolve, reject) => {
        server.stderr.setEncoding("utf8").on("data", (text: string) => {
          said += text;
          if (said.includes("listening on")) resolve();
        });
        server.once("close", () => reject(new Error(`sshd ended: ${said}`)));
      });
      const options = ["-F", "none", "-i", join(keys, "user"), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"];
      const ssh = ["ssh", ...options, "-o", `UserKnownHostsFile=${join(keys, "known")}`];
      const host = `${userInfo().username}@127.0.0.1`;
      try {
        execFileSync("ssh", [...ssh.slice(1), "-p", String(port), host, "true"], { stdio: "pipe" });
      } catch (error) {
        return skip(`this machine lets nobody in over ssh: ${(error as { stderr?: Buffer }).stderr?.toString().trim()} ${said}`);
      }
      const ended = await launch("sshd", `${host} slots=2 port=${port}\n`, "--ssh", ssh.join(" ")).ended;
      expect(ended).toMatchObject({ code: 0 });
      const { lines } = await readJournal(join(folder, "sshd"));
      expect(auditJournal(lines)).toMatchObject({ faults: [] });
      expect(lines.at(-1)).toMatchObject({ event: "end", outcome: "finished" });
    } finally {
      server.removeAllListeners("close");
      server.kill("SIGTERM");
    }
  });
});
