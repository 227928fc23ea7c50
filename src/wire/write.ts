/** Writes to a stream no faster than the other side reads. */
import { once } from "node:events";
import type { ServerWritableStream } from "@grpc/grpc-js";

/** @returns false when the call is over and nothing more should be written. */
export async function writeWithPressure<Request, Reply>(call: ServerWritableStream<Request, Reply>, message: Reply): Promise<boolean> {
  if (call.cancelled) return false;
  if (call.write(message)) return true;
  const stop = new AbortController();
  const cancelled = once(call, "cancelled", { signal: stop.signal });
  const drained = once(call, "drain", { signal: stop.signal });
  await Promise.race([cancelled, drained]);
  stop.abort();
  await Promise.allSettled([cancelled, drained]);
  return !call.cancelled;
}
