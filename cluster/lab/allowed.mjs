/**
 * What this machine allows of a laboratory: each thing is tried, in a network namespace that is made for it and deleted again, rather
 * than guessed from versions. Nothing outside that namespace is touched.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";

/**
 * @typedef {object} Allowed
 * @property {string | null} refusal why no laboratory can be made here; null where one can
 * @property {boolean} netem delay, loss and rate by the kernel's network emulator
 * @property {boolean} tbf rate by the kernel's token bucket
 * @property {boolean} tun whether packets can be relayed by a process (a TUN device, and socat to serve it)
 * @property {string[]} words for people, a line each
 */

/** @returns {Allowed} */
export function whatIsAllowed() {
  const refusal = whyNot();
  if (refusal !== null) return { refusal, netem: false, tbf: false, tun: false, words: [`no laboratory: ${refusal}`] };
  const probe = `isolab-probe-${process.pid}`;
  try {
    const isMade = tried("ip", "netns", "add", probe);
    if (isMade !== null) return { refusal: isMade, netem: false, tbf: false, tun: false, words: [`no laboratory: ${isMade}`] };
    const within = (/** @type {string[]} */ ...words) => tried("nsenter", `--net=/run/netns/${probe}`, "--", ...words);
    const veth =
      within("ip", "link", "add", "name", "va", "type", "veth", "peer", "name", "vb") ??
      within("ip", "link", "add", "name", "br", "type", "bridge");
    if (veth !== null) return { refusal: veth, netem: false, tbf: false, tun: false, words: [`no laboratory: ${veth}`] };
    const hasTc = has("tc");
    const netem = hasTc && within("tc", "qdisc", "replace", "dev", "va", "root", "netem", "delay", "1ms") === null;
    const tbf =
      hasTc && within("tc", "qdisc", "replace", "dev", "va", "root", "tbf", "rate", "1mbit", "burst", "32kb", "latency", "50ms") === null;
    const tun = has("socat") && canWrite("/dev/net/tun") && within("ip", "tuntap", "add", "dev", "tn", "mode", "tun") === null;
    const say = (/** @type {boolean} */ is, /** @type {string} */ what, /** @type {string} */ otherwise) =>
      `${is ? "+" : "-"} ${is ? what : otherwise}`;
    return {
      refusal: null,
      netem,
      tbf,
      tun,
      words: [
        "+ hosts: network namespaces, veth, bridge; links that are cut and healed",
        say(
          netem,
          "delay, loss and rate by the kernel (netem)",
          `delay and loss by the kernel: no ${hasTc ? "netem in this kernel" : "tc (iproute2)"}`,
        ),
        say(tbf, "rate by the kernel (tbf)", "rate by the kernel: no tbf"),
        say(tun, "delay, loss and rate by a relay (TUN, socat)", "delay, loss and rate by a relay: needs socat and /dev/net/tun"),
      ],
    };
  } finally {
    spawnSync("ip", ["netns", "del", probe], { stdio: "ignore" });
  }
}

/** @returns {string | null} */
function whyNot() {
  if (process.platform !== "linux") return "network namespaces are Linux's";
  for (const [program, from] of [
    ["ip", "iproute2"],
    ["nsenter", "util-linux"],
  ])
    if (!has(program ?? "")) return `there is no ${program} (${from})`;
  if (process.getuid?.() !== 0) return "making network namespaces needs root";
  return null;
}

/** @param {string} program */
function has(program) {
  return spawnSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" }).status === 0;
}

/** @param {string} path */
function canWrite(path) {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * @param {string} program @param {string[]} words
 * @returns {string | null} why it failed; null where it did not
 */
function tried(program, ...words) {
  const { status, stderr, error } = spawnSync(program, words, { encoding: "utf8" });
  if (status === 0) return null;
  return `${program} ${words.join(" ")}: ${error?.message ?? stderr.trim().split("\n").at(-1)}`;
}
