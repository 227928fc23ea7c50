/** What this worker gives to its peers: a small gRPC server for what it has offered (`offers.ts`). It decides nothing. */
import type { handleServerStreamingCall } from "@grpc/grpc-js";
import { hostPort, LOOPBACK } from "../collective/data-address.js";
import type { Security } from "../security/security.js";
import type { FetchRequest, StateBlock } from "../wire/messages.js";
import { peer } from "../wire/proto.js";
import { refusal } from "../wire/refusal.js";
import { openServer, type RunningServer } from "../wire/server.js";
import { writeWithPressure } from "../wire/write.js";
import { type Offers, rowsOf } from "./offers.js";
import { stateBlocks } from "./state-transfer.js";
import type { RingAddress } from "./sums.js";

/** Listens where the ring does: on the address that other workers reach this machine by, and on a port of its range if there is one. */
export function startPeerServer({ host = LOOPBACK, ports }: RingAddress, offers: Offers, security?: Security): Promise<RunningServer> {
  const listen = (port: number): Promise<RunningServer> =>
    openServer(hostPort(host, port), [{ definition: peer, handlers: { fetch: fetchHandler(offers) } }], security);
  return ports === undefined ? listen(0) : ports.take(listen);
}

function fetchHandler(offers: Offers): handleServerStreamingCall<FetchRequest, StateBlock> {
  return (call) => {
    const gone = new AbortController();
    call.on("cancelled", () => gone.abort());
    const send = async (): Promise<void> => {
      const { generation, files, rowFrom, rowTo } = call.request;
      const offered = await offers.of(generation, gone.signal);
      const whole = newestOf(offered.filter(({ file }) => file !== "buffer" && files.includes(file)));
      const rows = files.includes("buffer") ? rowsOf(offered, { from: rowFrom, to: rowTo }) : [];
      for (const block of stateBlocks([...whole, ...rows], { generation, rank: 0, step: 0 })) {
        if (!(await writeWithPressure(call, block))) return;
      }
      call.end();
    };
    send().catch((error) => call.emit("error", refusal(error)));
  };
}

/** Two offers of one step hold the same: one of each tensor is enough. */
function newestOf<T extends { readonly file: string; readonly tensor: string }>(parts: readonly T[]): T[] {
  return [...new Map(parts.map((part) => [`${part.file}/${part.tensor}`, part])).values()];
}
