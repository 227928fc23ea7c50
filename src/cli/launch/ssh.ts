/**
 * `isoerg launch --on ssh`: leads a run from this process, with workers on the machines of a host file. Ctrl-C saves and ends all of
 * it, as with `isoerg train`; whatever becomes of this process, the workers end with it.
 */
import { appendFileSync, readFileSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { loadConfig } from "../../config/load.js";
import type { Coordinator } from "../../coordinator/coordinator.js";
import { type Credentials, makeCredentials, PLAINTEXT, readCredentials } from "../../launch/ssh/credentials.js";
import { type Host, type Place, parseHosts, placesOf } from "../../launch/ssh/hosts.js";
import { startRemoteWorkers } from "../../launch/ssh/workers.js";
import { hostOf, isLoopback } from "../../security/security.js";
import { IsoergError } from "../../util/error.js";
import { packageRoot } from "../../util/package.js";
import { addEngineOptions, type EngineFlags } from "../engine-options.js";
import { checkExperiment } from "../train/check.js";
import { leadRun } from "../train/lead.js";
import { enterRunFolder } from "../train/run-folder.js";
import { chosenPort, limitsOf } from "../train.js";

export interface SshFlags extends Omit<EngineFlags, "threads"> {
  /** Null for an even share of each host's cores. */
  readonly threads: number | null;
  readonly hosts?: string;
  readonly run?: string;
  readonly listen?: string;
  readonly ssh: string;
  readonly program?: string;
  readonly minWorkers: number;
  readonly joinTimeout?: number;
  readonly tls?: string;
  readonly tokenFile?: string;
  readonly insecure?: true;
}

const SSH = "ssh -o BatchMode=yes -o ServerAliveInterval=15 -o ServerAliveCountMax=4";
const JOIN_SECONDS = 300;
/** Below its minimum the run waits so long for workers that are started again. */
const REJOIN_MS = 120_000;

export function addSshOptions(command: Command): Command {
  return addEngineOptions(
    command
      .option("--hosts <file>", "a line a host: [user@]host [slots=N] [port=N] [device=cuda] [threads=N] [address=A]")
      .option("--run <dir>", "folder for all that the run produces (default: runs/NAME)")
      .option("--listen <host:port>", "address of the coordinator (default: any port, on all addresses of this machine)")
      .addOption(new Option("--ssh <command>", "how to reach a host; keys or an agent, since nobody is asked for a password").default(SSH))
      .option("--program <command>", "isoerg on the hosts (default: this node and this isoerg, at the same paths there)")
      .option("--tls <dir>", "certificates of your own (default: made for this run, and sent over ssh)")
      .option("--token-file <file>", "a join token of your own, with --tls"),
  );
}

export async function launchOverSsh(source: string, settings: readonly string[], flags: SshFlags): Promise<void> {
  const { config } = loadConfig({ source, overrides: [...settings] });
  const hosts = readHosts(flags.hosts);
  const places = placesOf(hosts);
  const limits = limitsOf({ workers: { min: null, expected: places.length, max: null }, minWorkers: flags.minWorkers });
  const listen = flags.listen ?? (hosts.every(({ host }) => isLoopback(host)) ? "127.0.0.1:0" : "0.0.0.0:0");
  if (!/^.+:\d+$/.test(listen)) throw new IsoergError("USAGE", `--listen ${listen} is not HOST:PORT`);
  const names = reachedBy(hostOf(listen));
  const credentials = await credentialsOf(flags, names);
  await checkExperiment(config);
  const runFolder = flags.run ?? `runs/${config.name}`;
  const entrance = await enterRunFolder(runFolder, config, { resume: true, command: process.argv.slice(2) });
  const say = createSay();
  if (entrance.kind === "finished") return say(`${runFolder} is finished: ${entrance.step} steps`);
  await leadRun({
    config,
    runFolder,
    ...limits,
    slices: "equal",
    listen,
    security: credentials.security,
    timeouts: { joinMs: 1000 * (flags.joinTimeout ?? JOIN_SECONDS), rejoinMs: REJOIN_MS },
    resume: entrance.kind === "continue",
    onListening: (coordinator) =>
      startRemoteWorkers({
        places,
        ssh: flags.ssh.trim().split(/\s+/),
        program: flags.program?.trim().split(/\s+/) ?? [process.execPath, join(packageRoot, "dist", "src", "main.js")],
        addresses: names.map((name) => `${name}:${portOf(coordinator)}`),
        credentials,
        engine: flags.engine,
        device: flags.device,
        threads: flags.threads,
        say,
        onLog: ({ id }: Place, line) => appendFileSync(join(runFolder, "logs", `worker-${id}.jsonl`), `${line}\n`),
        onLost({ id }, how, numLeft) {
          if (how.kind === "hopeless") coordinator.fail(`worker ${id}: ${how.reason}`, how.code);
          else if (numLeft < limits.minWorkers) coordinator.fail(`worker ${id}: ${how.reason}`, "NETWORK");
        },
      }),
  }).catch(chosenPort(listen));
}

function readHosts(path: string | undefined): readonly Host[] {
  if (path === undefined) throw new IsoergError("USAGE", "on which machines? Give --hosts FILE, one host a line");
  try {
    return parseHosts(readFileSync(path, "utf8"), path);
  } catch (cause) {
    if (cause instanceof IsoergError) throw cause;
    throw new IsoergError("USAGE", `the host file ${path} can't be read (${(cause as NodeJS.ErrnoException).code})`, { cause });
  }
}

/** Whatever this machine is called by from elsewhere: workers try one after the other, and the certificate holds for all. */
function reachedBy(host: string): readonly string[] {
  if (host !== "0.0.0.0" && host !== "::") return [host];
  const addresses = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
  return [...addresses.flatMap(({ internal, family, address }) => (!internal && family === "IPv4" ? [address] : [])), hostname()];
}

async function credentialsOf({ insecure, tls, tokenFile }: SshFlags, names: readonly string[]): Promise<Credentials> {
  if (insecure) return PLAINTEXT;
  if (tls !== undefined) return readCredentials({ tls, tokenFile }, new Date());
  if (tokenFile !== undefined) throw new IsoergError("USAGE", "--token-file goes with --tls; without both, a token is made for this run");
  return await makeCredentials([...new Set([...names, "localhost", "127.0.0.1", "::1"])], new Date());
}

function portOf({ address }: Coordinator): string {
  return address.slice(address.lastIndexOf(":") + 1);
}

/** Lines of the hosts, between those of the run: on a terminal the progress that is drawn there gives way, and comes again. */
function createSay(): (text: string) => void {
  const clear = process.stderr.isTTY ? "\r\u001b[K" : "";
  return (text) => void process.stderr.write(`${clear}${text}\n`);
}
