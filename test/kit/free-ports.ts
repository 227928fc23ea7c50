/**
 * Ports for programs that must be told one and can't say which they took. They lie below those that systems give to whoever asks
 * for any, so nobody takes one between the look and its use but by asking for that very port.
 */
import { createServer } from "node:net";

const FIRST = 10_000;
const COUNT = 20_000;
/** Where this process begins to look: apart from others that look at the same time. */
let next = (process.pid * 97) % COUNT;

/** The first of so many ports in a row on loopback that are free, another one at each call. */
export async function freePorts(count: number): Promise<number> {
  for (let tried = 0; tried < COUNT; tried += count) {
    const first = FIRST + (next % COUNT);
    next += count;
    const ports = await Promise.allSettled(Array.from({ length: count }, (_, i) => seeWhetherFree(first + i)));
    if (ports.every(({ status }) => status === "fulfilled")) return first;
  }
  throw new Error(`no ${count} ports in a row are free`);
}

function seeWhetherFree(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(port, "127.0.0.1", () => server.close(() => resolve()));
  });
}
