/**
 * Sums over TCP by native code (`native/streams.cc`): its calls as types, and loading it. It is the library that gives shared memory
 * (`host-memory.ts`), asked for separately: a machine may have either without the other being wanted.
 */
import { loadLibrary } from "./host-memory.js";

export interface NativeStreams {
  /** The streams of one rank and generation. A silent connection is asked whether its other end is there, for `silenceMs`. */
  openStreams(run: number, generation: number, rank: number, silenceMs: number): number;
  /** Takes an open TCP connection to (out: 1) or from (0) a rank. The descriptor stays the caller's. -> whether it was taken. */
  addStream(streams: number, rank: number, out: 0 | 1, fd: number): 0 | 1;
  /** Sums in place, as far as it comes in a moment. -> outcome; "pending" goes on with `finishStreamSum`. `program`: see stream-plan.ts. */
  beginStreamSum(
    streams: number,
    values: Float32Array,
    program: Float64Array,
    step: number,
    bucket: number,
    timeoutMs: number,
    maxSpinMs: number,
  ): number;
  /** -> outcome, from a thread of its own. */
  finishStreamSum(streams: number, values: Float32Array): Promise<number>;
  /** The rank that sent nothing or the wrong thing; -2 - rank for one that took nothing; -1 for none. */
  streamFault(streams: number): number;
  /** The header that came where another was due. */
  streamHeard(streams: number): ArrayBuffer;
  /** The sum under way ends once nothing comes any more: a neighbour is thought to be gone. */
  loseStreams(streams: number): void;
  /** Pending and later sums end; the connections close, after what was sent. */
  closeStreams(streams: number): void;
}

export type NativeStreamsLoad =
  | { readonly ok: true; readonly native: NativeStreams }
  | { readonly ok: false; readonly reason: string; readonly hint: string };

export async function loadNativeStreams(env: NodeJS.ProcessEnv = process.env): Promise<NativeStreamsLoad> {
  if (env.ISOERG_STREAMS === "0") return { ok: false, reason: "ISOERG_STREAMS=0", hint: "leave the variable out" };
  const loaded = await loadLibrary<NativeStreams>(env);
  return loaded.ok ? { ok: true, native: loaded.library } : loaded;
}
