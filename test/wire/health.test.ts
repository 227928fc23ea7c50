/** grpc.health.v1 as a probe asks it: a client that knows the protocol's wire format and nothing of this program. */
import { Client, credentials, status } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { COORDINATION_SERVICE, coordinationHealth } from "../../src/coordinator/rpc/health.js";
import { type Health, openHealthServer, type ServingStatus } from "../../src/wire/health.js";
import type { RunningServer } from "../../src/wire/server.js";

// A HealthCheckRequest is field 1, a string; a HealthCheckResponse is field 1, a varint: by hand, so that the .proto is tested too.
const request = (service: string): Buffer =>
  service === "" ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, service.length]), Buffer.from(service)]);
const SERVING = 1;
const NOT_SERVING = 2;
const SERVICE_UNKNOWN = 3;
const statusOf = (reply: Buffer): number => (reply.length === 0 ? 0 : (reply[1] ?? -1));
const same = (bytes: Buffer): Buffer => bytes;

let server: RunningServer | undefined;
let client: Client | undefined;
afterEach(async () => {
  client?.close();
  await server?.close(0);
});

async function serve(health: Health): Promise<Client> {
  server = await openHealthServer("127.0.0.1:0", health);
  client = new Client(server.address, credentials.createInsecure());
  return client;
}

function check(from: Client, service: string): Promise<number> {
  return new Promise((resolve, reject) => {
    from.makeUnaryRequest("/grpc.health.v1.Health/Check", same, same, request(service), (error, reply) => {
      if (error) reject(error);
      else resolve(statusOf(reply ?? Buffer.alloc(0)));
    });
  });
}

describe("the health service", () => {
  it("answers Check for the server and a service, and NOT_FOUND for others", async () => {
    const client = await serve((service) => (service === "" ? "SERVING" : service === "a.B" ? "NOT_SERVING" : null));
    expect(await check(client, "")).toBe(SERVING);
    expect(await check(client, "a.B")).toBe(NOT_SERVING);
    await expect(check(client, "a.C")).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  it("streams the state and its changes to Watch, SERVICE_UNKNOWN included", async () => {
    let state: ServingStatus | null = null;
    const client = await serve(() => state);
    const call = client.makeServerStreamRequest("/grpc.health.v1.Health/Watch", same, same, request("late"));
    call.on("error", () => {}); // cancelled below
    const seen: number[] = [];
    for await (const reply of call as AsyncIterable<Buffer>) {
      seen.push(statusOf(reply));
      if (seen.length === 1) state = "SERVING";
      else if (seen.length === 2) state = "NOT_SERVING";
      else break;
    }
    call.cancel();
    expect(seen).toEqual([SERVICE_UNKNOWN, SERVING, NOT_SERVING]);
  });

  it("says of a coordinator that it lives as long as it answers, and takes workers until it stops", () => {
    const states = ["waiting", "training", "stopping", "finished", "stopped", "failed"] as const;
    const at = (service: string) => states.map((state) => coordinationHealth(() => ({ state }))(service));
    expect(at("")).toEqual(states.map(() => "SERVING"));
    expect(at(COORDINATION_SERVICE)).toEqual(["SERVING", "SERVING", "NOT_SERVING", "NOT_SERVING", "NOT_SERVING", "NOT_SERVING"]);
    expect(coordinationHealth(() => ({ state: "training" }))("isoerg.v1.Other")).toBeNull();
  });
});
