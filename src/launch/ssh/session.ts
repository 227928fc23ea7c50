/** One ssh session that runs one process: its lines as they come, how it ended, and two ways to end it. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Exit } from "./after-exit.js";
import { bootstrapScript, type RemoteProcess, remoteCommand, standardInput, TERM_LINE } from "./bootstrap.js";

export interface SessionOptions {
  /** The ssh command with its options. */
  readonly ssh: readonly string[];
  /** Options and host, as `destinationOf` gives them. */
  readonly destination: readonly string[];
  readonly process: RemoteProcess;
  /** A line for people. */
  readonly onLine: (line: string) => void;
  /** A line of the process's log. */
  readonly onLog: (line: string) => void;
}

export interface Session {
  readonly ended: Promise<Exit>;
  /** SIGTERM to the process there. */
  terminate(): void;
  /** Cuts the lifeline: the process there ends, if need be by SIGKILL. */
  release(): void;
  /** Ends ssh here; the lifeline goes with it. */
  kill(): void;
}

const LAST_LINES = 3;

export function openSession({ ssh, destination, process: remote, onLine, onLog }: SessionOptions): Session {
  const [command = "ssh", ...options] = ssh;
  const script = bootstrapScript(remote);
  // In a process group of its own: Ctrl-C is the launcher's to hear, not the connection's.
  const child = spawn(command, [...options, ...destination, remoteCommand(script)], { stdio: ["pipe", "pipe", "pipe"], detached: true });
  child.stdin.on("error", () => {}); // the session is over: `close` tells
  child.stdin.write(standardInput(script, remote.files));
  const last: string[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => {
    last.push(line);
    if (last.length > LAST_LINES) last.shift();
    onLine(line);
  });
  createInterface({ input: child.stdout }).on("line", onLog);
  return {
    ended: new Promise((resolve) => {
      child.once("error", (error) => resolve({ code: 127, signal: null, lastWords: `${command} can't be started: ${error.message}` }));
      child.once("close", (code, signal) => resolve({ code, signal, lastWords: last.join(" / ") }));
    }),
    terminate: () => void child.stdin.write(TERM_LINE),
    release: () => void child.stdin.end(),
    kill: () => void child.kill("SIGTERM"),
  };
}
