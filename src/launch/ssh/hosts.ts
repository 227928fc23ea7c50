/**
 * The host file of a run over ssh: a line a host, in the form that MPI's launchers made common,
 *
 *     [user@]host [slots=N] [port=N] [device=cpu|cuda] [threads=N] [address=A]     # a comment
 *
 * `slots` worker processes each, called after the host. Nothing in it is handed to a shell: a host is checked to be a name or an address.
 */
import { IsoergError } from "../../util/error.js";

export interface Host {
  /** Name or address, without the user. */
  readonly host: string;
  readonly user: string | null;
  /** Of its ssh server; null for ssh's own choice. */
  readonly port: number | null;
  /** Worker processes. */
  readonly slots: number;
  /** Null for what the command line says. */
  readonly device: string | null;
  /** Of each process; null for an even share of the host's cores. */
  readonly threads: number | null;
  /** That the other workers reach it by; null for the first of its own. */
  readonly address: string | null;
}

/** One worker process on a host. */
export interface Place {
  /** Of the worker, and before its lines. */
  readonly id: string;
  readonly host: Host;
  /** 0 .. slots-1 */
  readonly slot: number;
}

const NAME = /^[A-Za-z0-9_]([A-Za-z0-9_.:-]*[A-Za-z0-9_])?$/;
const USER = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;

/** @param path for messages @throws IsoergError USAGE with file and line */
export function parseHosts(text: string, path: string): readonly Host[] {
  const hosts: Host[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    const [first, ...settings] = line.replace(/#.*$/, "").trim().split(/\s+/) as [string, ...string[]];
    if (first === "") continue;
    const where = `${path}:${i + 1}`;
    const host = parseHost(first, settings, where);
    if (hosts.some((other) => other.host === host.host)) {
      throw new IsoergError("USAGE", `${where}: ${host.host} stands there twice`, { hint: "one line with slots=N runs N workers on it" });
    }
    hosts.push(host);
  }
  if (hosts.length === 0) throw new IsoergError("USAGE", `${path} names no host`, { hint: "one host a line: [user@]host [slots=N]" });
  return hosts;
}

function parseHost(first: string, settings: readonly string[], where: string): Host {
  const at = first.lastIndexOf("@");
  const [user, host] = at < 0 ? [null, first] : [first.slice(0, at), first.slice(at + 1)];
  if (!NAME.test(host) || (user !== null && !USER.test(user))) throw new IsoergError("USAGE", `${where}: '${first}' is no [user@]host`);
  let parsed: Host = { host, user, port: null, slots: 1, device: null, threads: null, address: null };
  for (const setting of settings) parsed = { ...parsed, ...parseSetting(setting, where) };
  return parsed;
}

function parseSetting(setting: string, where: string): Partial<Host> {
  const [key = "", value = ""] = setting.split("=");
  if (key === "device") {
    if (/^(cpu|cuda(:\d+)?)$/.test(value)) return { device: value };
    throw new IsoergError("USAGE", `${where}: device is cpu, cuda or cuda:N, not '${value}'`);
  }
  if (key === "address") {
    if (NAME.test(value)) return { address: value };
    throw new IsoergError("USAGE", `${where}: '${value}' is no address`);
  }
  if (key !== "slots" && key !== "port" && key !== "threads") {
    throw new IsoergError("USAGE", `${where}: unknown setting '${setting}'`, { hint: "settings: slots, port, device, threads, address" });
  }
  const number = Number(value);
  const isFit = /^\d+$/.test(value) && number >= 1 && number <= (key === "port" ? 65_535 : 1024);
  if (!isFit) throw new IsoergError("USAGE", `${where}: ${key} takes a whole number from 1 on, not '${value}'`);
  return { [key]: number };
}

/** A place for each worker, in the order of the file. */
export function placesOf(hosts: readonly Host[]): readonly Place[] {
  return hosts.flatMap((host) =>
    Array.from({ length: host.slots }, (_, slot) => ({ id: host.slots === 1 ? host.host : `${host.host}-${slot}`, host, slot })),
  );
}

/** Where ssh connects: options and destination. */
export function destinationOf({ host, user, port }: Host): readonly string[] {
  return [...(port === null ? [] : ["-p", String(port)]), user === null ? host : `${user}@${host}`];
}
