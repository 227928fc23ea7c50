/**
 * How links are made slow, late and lossy: a pure choice between the kernel's means, and a relay's where the kernel has none. Every
 * figure is of one direction: a delay of 10 ms makes a round trip of 20.
 */

/**
 * @typedef {object} Link
 * @property {number | null} rateMbit of each host, outwards
 * @property {number | null} delayMs one way
 * @property {number | null} lossPercent of packets
 */
/** @typedef {{by: "nothing"} | {by: "tc", words: string[]} | {by: "relay"} | {by: "impossible", reason: string}} Shaping */

/** As many packets may be under way in a long and fast link. */
const LIMIT_PACKETS = 20_000;

/**
 * @param {Link} link @param {Pick<import("./allowed.mjs").Allowed, "netem" | "tbf" | "tun">} allowed
 * @returns {Shaping} words: of `tc qdisc replace dev DEVICE root ...`
 */
export function chooseShaping({ rateMbit, delayMs, lossPercent }, { netem, tbf, tun }) {
  if (rateMbit === null && delayMs === null && lossPercent === null) return { by: "nothing" };
  if (netem) {
    const words = ["netem", "limit", String(LIMIT_PACKETS)];
    if (delayMs !== null) words.push("delay", `${delayMs}ms`);
    if (lossPercent !== null) words.push("loss", `${lossPercent}%`);
    if (rateMbit !== null) words.push("rate", `${rateMbit}mbit`);
    return { by: "tc", words };
  }
  if (delayMs === null && lossPercent === null && tbf)
    return { by: "tc", words: ["tbf", "rate", `${rateMbit}mbit`, "burst", "256kb", "latency", "50ms"] };
  if (tun) return { by: "relay" };
  return { by: "impossible", reason: "this kernel has no netem, and there is no socat to relay packets with" };
}

/** @param {string} text as `100mbit`, `1.5gbit` @returns {number} */
export function parseRate(text) {
  const found = /^(\d+(?:\.\d+)?)(kbit|mbit|gbit)$/.exec(text);
  const value = Number(found?.[1]) * { kbit: 0.001, mbit: 1, gbit: 1000 }[/** @type {"kbit" | "mbit" | "gbit"} */ (found?.[2] ?? "mbit")];
  if (!(value > 0)) throw new Error(`a rate is a number with kbit, mbit or gbit, not '${text}'`);
  return value;
}

/** @param {string} text as `20ms` @returns {number} */
export function parseDelay(text) {
  const found = /^(\d+(?:\.\d+)?)ms$/.exec(text);
  if (!found) throw new Error(`a delay is a number with ms, not '${text}'`);
  return Number(found[1]);
}

/** @param {string} text as `0.5%` @returns {number} */
export function parseLoss(text) {
  const found = /^(\d+(?:\.\d+)?)%$/.exec(text);
  if (!found || Number(found[1]) >= 100) throw new Error(`a loss is a percentage below 100, not '${text}'`);
  return Number(found[1]);
}

/**
 * The relay's link of one sender, decided without a clock of its own: when a packet that comes now is to be handed on, or null where
 * it is lost. A queue longer than `QUEUE_MS` drops what comes (as tbf's latency does).
 */
export class RelayedLink {
  /** When the sender's line is free again. */
  #freeAtMs = 0;
  #link;
  #random;

  /** @param {Link} link @param {() => number} random in [0, 1) */
  constructor(link, random) {
    this.#link = link;
    this.#random = random;
  }

  /** @param {number} sizeBytes @param {number} nowMs @returns {number | null} */
  arrivalOf(sizeBytes, nowMs) {
    const { rateMbit, delayMs, lossPercent } = this.#link;
    if (lossPercent !== null && this.#random() * 100 < lossPercent) return null;
    let sentAtMs = nowMs;
    if (rateMbit !== null) {
      const beginMs = Math.max(nowMs, this.#freeAtMs);
      if (beginMs - nowMs > QUEUE_MS) return null;
      sentAtMs = beginMs + (8 * sizeBytes) / (1000 * rateMbit); // Mbit/s = kbit/ms
      this.#freeAtMs = sentAtMs;
    }
    return sentAtMs + (delayMs ?? 0);
  }
}

const QUEUE_MS = 50;
