/**
 * A switch in a process, for kernels without a network emulator: hosts' packets come from TUN devices as UDP datagrams, are held back,
 * lost and let through as their sender's link says, and go on to the host that they are for. Started by `lab.mjs` inside the laboratory's
 * own namespace; its options are one JSON argument. Says `ready` when it listens, and ends with its standard input.
 */
import { createSocket } from "node:dgram";
import { RelayedLink } from "./shaping.mjs";

/** Offset of the destination in an IPv4 header (RFC 791). */
const DESTINATION = 16;
const HEADER_BYTES = 20;

const { address, port, hosts, link } = JSON.parse(process.argv[2] ?? "{}");
/** From the address that its packets carry to that at which its datagrams are. */
const places = new Map(hosts.map((/** @type {{ip: string, under: string}} */ { ip, under }) => [ip, under]));
const links = new Map(hosts.map((/** @type {{under: string}} */ { under }) => [under, new RelayedLink(link, Math.random)]));

/** Packets by when they are due; times are in order for one sender, nearly so for all. @type {{atMs: number, packet: Buffer, under: string}[]} */
const waiting = [];
/** @type {NodeJS.Timeout | undefined} */
let timer;
const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 });
socket.on("message", (packet, { address: sender }) => {
  if (packet.length < HEADER_BYTES || (packet[0] ?? 0) >> 4 !== 4) return;
  const to = places.get([...packet.subarray(DESTINATION, DESTINATION + 4)].join("."));
  const nowMs = performance.now();
  const atMs = to === undefined ? null : (links.get(sender)?.arrivalOf(packet.length, nowMs) ?? null);
  if (atMs === null) return;
  let i = waiting.length;
  while (i > 0 && /** @type {{atMs: number}} */ (waiting[i - 1]).atMs > atMs) i--;
  waiting.splice(i, 0, { atMs, packet, under: to });
  if (i === 0) schedule();
});

function schedule() {
  clearTimeout(timer);
  const first = waiting[0];
  if (first !== undefined) timer = setTimeout(handOn, Math.max(0, first.atMs - performance.now()));
}

function handOn() {
  const nowMs = performance.now();
  let due = 0;
  while (due < waiting.length && /** @type {{atMs: number}} */ (waiting[due]).atMs <= nowMs) due++;
  for (const { packet, under } of waiting.splice(0, due)) socket.send(packet, port, under);
  schedule();
}

socket.bind(port, address, () => process.stdout.write("ready\n"));
process.stdin.on("end", () => process.exit(0)).resume();
