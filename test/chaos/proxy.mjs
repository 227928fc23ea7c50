/** A TCP proxy inside the harness, between one worker and whoever leads the run now: it can be cut, and healed again. */
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";

/** @param {string} leaderFile coordinator.json of the run */
export async function startProxy(leaderFile) {
  const sockets = new Set();
  let isCut = false;
  const server = createServer((near) => {
    if (isCut) return near.destroy();
    let address;
    try {
      ({ address } = JSON.parse(readFileSync(leaderFile, "utf8")));
    } catch {
      return near.destroy();
    }
    const far = connect(Number(address.slice(address.lastIndexOf(":") + 1)), "127.0.0.1");
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ]) {
      sockets.add(socket);
      socket
        .on("error", () => other.destroy())
        .on("close", () => {
          sockets.delete(socket);
          other.destroy();
        });
    }
    near.pipe(far).pipe(near);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${server.address().port}`,
    cut() {
      isCut = true;
      for (const socket of sockets) socket.destroy();
    },
    heal() {
      isCut = false;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
