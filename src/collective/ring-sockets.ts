/**
 * The two ZeroMQ sockets of a place in the ring, with the options that the ring relies on. What is done with them is in
 * `zeromq-transport.ts`.
 */
import { Context, Pull, Push } from "zeromq";

export interface RingSockets {
  readonly pull: Pull;
  readonly push: Push;
}

export interface RingSocketOptions {
  readonly isIpv6: boolean;
  /** Of one message part; who sends more is cut off. */
  readonly maxMessageBytes: number;
  readonly sendTimeoutMs: number;
  readonly heartbeatTimeoutMs: number;
}

/** Frames, not bytes, that wait to be sent: enough to keep a connection busy, and at most a few MiB. */
const SEND_HIGH_WATER_MARK = 8;
/**
 * Frames that wait to be received are not limited. ZeroMQ stops reading a connection whose queue is full, and with it the
 * heartbeats, so that a rank that comes late to a sum would be taken for dead. A ring bounds them anyway: without the late rank
 * nobody gets further than this sum, so at most its vector waits.
 */
const RECEIVE_HIGH_WATER_MARK = 0;
/** A hello is below this, however short a frame may be. */
const MIN_MAX_MESSAGE_BYTES = 256;
/** ZeroMQ counts what encryption adds: command name, nonce, flags and authenticator of CurveZMQ's MESSAGE, 33 bytes. */
const ENCRYPTION_BYTES = 64;

let sharedContext: Context | undefined;

/** One for all rings of this process. Not `blocky`: a process that ends doesn't wait for sockets that nobody reads. */
export function ringContext(): Context {
  sharedContext ??= new Context({ blocky: false });
  return sharedContext;
}

export function openSockets(options: RingSocketOptions): RingSockets {
  return { pull: openPull(options), push: openPush(options) };
}

export function openPull(options: RingSocketOptions): Pull {
  const maxMessageSize = Math.max(options.maxMessageBytes, MIN_MAX_MESSAGE_BYTES) + ENCRYPTION_BYTES;
  return new Pull({ ...commonOf(options), receiveHighWaterMark: RECEIVE_HIGH_WATER_MARK, maxMessageSize });
}

export function openPush(options: RingSocketOptions): Push {
  return new Push({ ...commonOf(options), sendHighWaterMark: SEND_HIGH_WATER_MARK, sendTimeout: options.sendTimeoutMs });
}

function commonOf({ isIpv6, heartbeatTimeoutMs }: RingSocketOptions) {
  return {
    context: ringContext(),
    linger: 0,
    ipv6: isIpv6,
    heartbeatInterval: Math.max(1, Math.floor(heartbeatTimeoutMs / 5)),
    heartbeatTimeout: heartbeatTimeoutMs,
    tcpKeepalive: 1,
  };
}

/** `lingerMs`: how long what was sent last may take to leave. Pending calls reject. */
export function closeSockets({ pull, push }: RingSockets, lingerMs: number): void {
  pull.close();
  if (push.closed) return;
  push.linger = lingerMs;
  push.close();
}

/** Whether a socket's call was rejected because its time was up. */
export function isTimeout(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EAGAIN";
}
