#!/usr/bin/env node
/**
 * A laboratory of hosts on one machine, for trying a run over a slow, late, lossy or broken network. Needs root on Linux.
 *
 *   node cluster/lab/lab.mjs allows                      what this machine allows
 *   node cluster/lab/lab.mjs run --hosts 3 [--rate 100mbit] [--delay 20ms] [--loss 0.5%] [--cut h2@10+5] -- COMMAND ...
 *       runs COMMAND in each host at once; {host}, {ip} and {ip1}, {ip2}, ... in its words are the host's name and address, and those
 *       of the others. Lines are shown after the host's name. It ends when all have, with the highest exit status; Ctrl-C ends them.
 *       --cut h2@10+5 cuts h2's link after 10 seconds, for 5.
 *   node cluster/lab/lab.mjs down                        take down what a crash has left
 *
 * The laboratory is gone when `run` ends, however it ends.
 */
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { whatIsAllowed } from "./allowed.mjs";
import { openLab, recordsThere, sweepUp, takeDown } from "./network.mjs";
import { parseDelay, parseLoss, parseRate } from "./shaping.mjs";

const [verb, ...words] = process.argv.slice(2);

try {
  if (verb === "allows") {
    const { words: lines, refusal } = whatIsAllowed();
    process.stdout.write(`${lines.join("\n")}\n`);
    process.exitCode = refusal === null ? 0 : 1;
  } else if (verb === "run") process.exitCode = await run(words);
  else if (verb === "down") {
    const left = sweepUp();
    process.stdout.write(left.length === 0 ? "nothing was left\n" : `taken down: ${left.join(", ")}\n`);
  } else if (verb === "guard") await guard(words[0] ?? "");
  else throw new Error(`which? allows, run or down, not '${verb ?? ""}'`);
} catch (error) {
  process.stderr.write(`error: ${/** @type {Error} */ (error).message}\n`);
  process.exitCode = 2;
}

/** @param {string[]} words @returns {Promise<number>} the highest exit status */
async function run(words) {
  const { values, positionals } = parseArgs({
    args: words,
    allowPositionals: true,
    options: {
      hosts: { type: "string" },
      rate: { type: "string" },
      delay: { type: "string" },
      loss: { type: "string" },
      cut: { type: "string" },
    },
  });
  const [command, ...rest] = positionals;
  if (command === undefined) throw new Error("which command? Give it after --");
  const cut = values.cut === undefined ? null : parseCut(values.cut);
  const lab = await openLab({
    hosts: Number(values.hosts ?? 2),
    rateMbit: values.rate === undefined ? null : parseRate(values.rate),
    delayMs: values.delay === undefined ? null : parseDelay(values.delay),
    lossPercent: values.loss === undefined ? null : parseLoss(values.loss),
  });
  try {
    if (lab.shapedBy !== "nothing") process.stderr.write(`links are shaped by ${lab.shapedBy}\n`);
    const addresses = Object.fromEntries(lab.hosts.map(({ ip }, i) => [`ip${i + 1}`, ip]));
    const children = lab.hosts.map((host) => {
      const filled = [command, ...rest].map((word) =>
        word.replaceAll(/\{(\w+)\}/g, (whole, name) => ({ host: host.name, ip: host.ip, ...addresses })[name] ?? whole),
      );
      const child = host.spawn(filled[0] ?? "", filled.slice(1), {
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, ISOLAB_HOST: host.name },
      });
      for (const [from, to] of [
        [child.stdout, process.stdout],
        [child.stderr, process.stderr],
      ])
        createInterface({ input: /** @type {NodeJS.ReadableStream} */ (from) }).on("line", (line) =>
          /** @type {NodeJS.WritableStream} */ (to).write(`[${host.name}] ${line}\n`),
        );
      return child;
    });
    const timers = cut === null ? [] : plan(lab, cut);
    const onSignal = (/** @type {NodeJS.Signals} */ signal) => {
      for (const child of children) child.kill(signal);
    };
    process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
    const codes = await Promise.all(
      children.map((child) => new Promise((resolve) => child.once("close", (code, signal) => resolve(signal === null ? code : 1)))),
    );
    for (const timer of timers) clearTimeout(timer);
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    return Math.max(...codes);
  } finally {
    lab.close();
  }
}

/** @param {string} text as `h2@10+5` */
function parseCut(text) {
  const found = /^(h\d+)@(\d+(?:\.\d+)?)\+(\d+(?:\.\d+)?)$/.exec(text);
  if (!found) throw new Error(`--cut is HOST@SECONDS+SECONDS, as h2@10+5, not '${text}'`);
  return { host: found[1], atMs: 1000 * Number(found[2]), forMs: 1000 * Number(found[3]) };
}

/**
 * @param {Awaited<ReturnType<typeof openLab>>} lab @param {ReturnType<typeof parseCut>} cut
 * @returns {NodeJS.Timeout[]}
 */
function plan(lab, { host: name, atMs, forMs }) {
  const host = lab.hosts.find((one) => one.name === name);
  if (host === undefined) throw new Error(`--cut: there is no ${name}`);
  const say = (/** @type {string} */ what) => process.stderr.write(`${name} is ${what}\n`);
  return [
    setTimeout(() => {
      host.cut();
      say("cut off");
    }, atMs),
    setTimeout(() => {
      host.heal();
      say("back");
    }, atMs + forMs),
  ];
}

/** Waits beside a laboratory until its owner's end of the pipe closes, which happens however the owner ends. @param {string} id */
async function guard(id) {
  await new Promise((resolve) => process.stdin.on("end", resolve).on("error", resolve).resume());
  const record = recordsThere().find((one) => one.id === id);
  if (record !== undefined) takeDown(record);
}
