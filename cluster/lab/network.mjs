/**
 * Hosts on one machine: a network namespace each, joined by a bridge in a namespace of its own, so that nothing of the machine's own
 * network is touched. Links can be shaped, cut and healed. A laboratory is taken down by `close`, by the guard that waits beside it
 * when its owner dies in whatever way, and, should that have been killed too, by the next laboratory that is made (`sweepUp`).
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { whatIsAllowed } from "./allowed.mjs";
import { chooseShaping } from "./shaping.mjs";

/**
 * @typedef {object} LabOptions
 * @property {number} hosts
 * @property {number | null} [rateMbit] of each host, outwards
 * @property {number | null} [delayMs] one way
 * @property {number | null} [lossPercent]
 */
/**
 * @typedef {object} LabHost
 * @property {string} name h1, h2, ...
 * @property {string} ip
 * @property {string} namespace
 * @property {(command: string, words: readonly string[], options?: import("node:child_process").SpawnOptions) => import("node:child_process").ChildProcess} spawn
 * @property {() => void} cut takes its link down
 * @property {() => void} heal brings it back
 */

/** What stands in a laboratory's file, for whoever takes it down. @typedef {{id: string, pid: number, startedAt: string, namespaces: string[]}} Record_ */

const RECORDS = "/run/isoerg-lab";
/** Of hosts, as others see them; and, below a relay, of the wire that it speaks over. */
const [NETWORK, UNDER] = ["10.77.0", "10.78.0"];
const RELAY = { address: `${UNDER}.254`, port: 4789 };
const MAX_HOSTS = 200;

/**
 * Makes a laboratory.
 * @param {LabOptions} options
 * @returns {Promise<{id: string, hosts: LabHost[], shapedBy: string, close: () => void}>}
 * @throws Error that says what the machine does not allow
 */
export async function openLab({ hosts: count, rateMbit = null, delayMs = null, lossPercent = null }) {
  if (!Number.isInteger(count) || count < 1 || count > MAX_HOSTS) throw new Error(`a laboratory has 1 to ${MAX_HOSTS} hosts, not ${count}`);
  const allowed = whatIsAllowed();
  if (allowed.refusal !== null) throw new Error(`no laboratory: ${allowed.refusal}`);
  const link = { rateMbit, delayMs, lossPercent };
  const shaping = chooseShaping(link, allowed);
  if (shaping.by === "impossible") throw new Error(`no such links: ${shaping.reason}`);
  sweepUp();

  const id = `${process.pid.toString(36)}${Math.floor(Math.random() * 36 ** 2).toString(36)}`;
  const switchSpace = `isolab-${id}-switch`;
  const names = Array.from({ length: count }, (_, i) => `h${i + 1}`);
  const namespaces = [switchSpace, ...names.map((name) => `isolab-${id}-${name}`)];
  mkdirSync(RECORDS, { recursive: true });
  const record = { id, pid: process.pid, startedAt: startOf(process.pid), namespaces };
  writeFileSync(join(RECORDS, `${id}.json`), JSON.stringify(record)); // before anything is made: a crash leaves nothing unknown
  const guard = spawn(process.execPath, [fileURLToPath(new URL("./lab.mjs", import.meta.url)), "guard", id], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true, // Ctrl-C is not for it
  });
  guard.unref();
  const close = () => {
    guard.stdin?.end();
    takeDown(record);
  };
  const isRelayed = shaping.by === "relay";
  try {
    for (const namespace of namespaces) must("ip", "netns", "add", namespace);
    within(switchSpace, "ip", "link", "add", "name", "lab", "type", "bridge");
    within(switchSpace, "ip", "link", "set", "lab", "up");
    if (isRelayed) {
      within(switchSpace, "ip", "link", "set", "lab", "mtu", "9000");
      within(switchSpace, "ip", "addr", "add", `${RELAY.address}/24`, "dev", "lab");
    }
    const places = names.map((name, i) => ({
      name,
      namespace: `isolab-${id}-${name}`,
      ip: `${NETWORK}.${i + 1}`,
      under: `${isRelayed ? UNDER : NETWORK}.${i + 1}`,
    }));
    for (const { name, namespace, under } of places) {
      within(switchSpace, "ip", "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", namespace);
      within(switchSpace, "ip", "link", "set", name, "master", "lab", "up");
      within(namespace, "ip", "link", "set", "lo", "up");
      within(namespace, "ip", "addr", "add", `${under}/24`, "dev", "eth0");
      within(namespace, "ip", "link", "set", "eth0", "up");
      if (isRelayed) {
        within(switchSpace, "ip", "link", "set", name, "mtu", "9000");
        within(namespace, "ip", "link", "set", "eth0", "mtu", "9000");
      }
      if (shaping.by === "tc") within(namespace, "tc", "qdisc", "replace", "dev", "eth0", "root", ...shaping.words);
    }
    if (isRelayed) await startRelay(switchSpace, places, link);
    return {
      id,
      shapedBy: shaping.by === "tc" ? `the kernel (${shaping.words[0]})` : shaping.by === "relay" ? "a relay" : "nothing",
      hosts: places.map(({ name, namespace, ip }) => ({
        name,
        ip,
        namespace,
        spawn: (command, words, options = {}) => spawn("nsenter", [`--net=/run/netns/${namespace}`, "--", command, ...words], options),
        cut: () => within(switchSpace, "ip", "link", "set", name, "down"),
        heal: () => within(switchSpace, "ip", "link", "set", name, "up"),
      })),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * @param {string} switchSpace @param {{name: string, namespace: string, ip: string, under: string}[]} places
 * @param {import("./shaping.mjs").Link} link
 */
async function startRelay(switchSpace, places, link) {
  const relay = spawn(
    "nsenter",
    [
      `--net=/run/netns/${switchSpace}`,
      "--",
      process.execPath,
      fileURLToPath(new URL("./relay.mjs", import.meta.url)),
      JSON.stringify({ ...RELAY, hosts: places, link }),
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  await new Promise((resolve, reject) => {
    relay.stdout.once("data", resolve);
    relay.once("close", () => reject(new Error("the relay ended")));
  });
  for (const child of [relay]) child.unref();
  for (const stream of [relay.stdin, relay.stdout]) /** @type {import("node:net").Socket} */ (stream).unref();
  for (const { namespace, ip, under } of places) {
    const socat = spawn(
      "nsenter",
      [
        `--net=/run/netns/${namespace}`,
        "--",
        "socat",
        `TUN:${ip}/24,tun-name=lab,tun-type=tun,iff-no-pi,iff-up`,
        `UDP4-DATAGRAM:${RELAY.address}:${RELAY.port},bind=${under}:${RELAY.port}`,
      ],
      { stdio: ["ignore", "ignore", "inherit"] },
    );
    socat.unref();
    untilThere(namespace, "lab");
  }
}

/** Waits, some milliseconds at a time, until a device is there. @param {string} namespace @param {string} device */
function untilThere(namespace, device) {
  for (let i = 0; i < 500; i++) {
    const { status } = spawnSync("nsenter", [`--net=/run/netns/${namespace}`, "--", "ip", "link", "show", device], { stdio: "ignore" });
    if (status === 0) return;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
  throw new Error(`socat has made no device in ${namespace}`);
}

/** Ends whatever runs in a laboratory's namespaces and deletes them. Done twice it does nothing. @param {Record_} record */
export function takeDown({ id, namespaces }) {
  for (const namespace of namespaces) {
    const { stdout } = spawnSync("ip", ["netns", "pids", namespace], { encoding: "utf8" });
    for (const pid of (stdout ?? "")
      .split("\n")
      .map(Number)
      .filter((number) => number > 1)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // gone already
      }
    }
    spawnSync("ip", ["netns", "del", namespace], { stdio: "ignore" });
  }
  rmSync(join(RECORDS, `${id}.json`), { force: true });
}

/** Takes down what dead owners have left. @returns {string[]} ids */
export function sweepUp() {
  const left = recordsThere().filter(({ pid, startedAt }) => startOf(pid) !== startedAt);
  for (const record of left) takeDown(record);
  return left.map(({ id }) => id);
}

/** @returns {Record_[]} */
export function recordsThere() {
  try {
    return readdirSync(RECORDS).flatMap((file) => {
      try {
        return [JSON.parse(readFileSync(join(RECORDS, file), "utf8"))];
      } catch {
        return [];
      }
    });
  } catch {
    return [];
  }
}

/** When a process began, in ticks since the machine did: with its number it is that process and no later one. @param {number} pid */
function startOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? "" : (fields[19] ?? "");
  } catch {
    return "";
  }
}

/** @param {string} namespace @param {string[]} words */
function within(namespace, ...words) {
  must("nsenter", `--net=/run/netns/${namespace}`, "--", ...words);
}

/** @param {string} program @param {string[]} words */
function must(program, ...words) {
  const { status, stderr, error } = spawnSync(program, words, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${words.join(" ")}: ${error?.message ?? stderr.trim()}`);
}
