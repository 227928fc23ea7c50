/**
 * grpc.health.v1, the health checking protocol of gRPC: what Kubernetes' probes ask. It stands beside the coordinator's other
 * services, and alone on a port of its own where probes can't do TLS, which those of Kubernetes can't. It says a word, and
 * takes no orders, so that port needs no protection but that of the network.
 */
import { join } from "node:path";
import {
  status as grpcStatus,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { invariant } from "../util/error.js";
import { packageRoot } from "../util/package.js";
import { openServer, type RunningServer, type Service } from "./server.js";

export type ServingStatus = "SERVING" | "NOT_SERVING";

/** The state of a service by its full name ("" for the whole server); null for one that isn't here. */
export type Health = (service: string) => ServingStatus | null;

interface HealthRequest {
  readonly service: string;
}

interface HealthReply {
  readonly status: ServingStatus | "SERVICE_UNKNOWN";
}

const WATCH_INTERVAL_MS = 250;

const packages = loadSync("grpc/health/v1/health.proto", {
  includeDirs: [join(packageRoot, "proto")],
  enums: String,
  defaults: true,
});

export const healthDefinition = definitionOf("grpc.health.v1.Health");

export function healthService(health: Health): Service {
  const handlers: UntypedServiceImplementation = { Check: checkHandler(health), Watch: watchHandler(health) };
  return { definition: healthDefinition, handlers };
}

/** A server of nothing but health, unencrypted. @throws IsoergError NETWORK when the address can't be listened on */
export function openHealthServer(listen: string, health: Health): Promise<RunningServer> {
  return openServer(listen, [healthService(health)]);
}

function checkHandler(health: Health): handleUnaryCall<HealthRequest, HealthReply> {
  return (call, reply) => {
    const status = health(call.request.service);
    if (status === null) reply({ code: grpcStatus.NOT_FOUND, details: `no service ${call.request.service} here` });
    else reply(null, { status });
  };
}

function watchHandler(health: Health): handleServerStreamingCall<HealthRequest, HealthReply> {
  return (call) => {
    let said: string | undefined;
    const say = (): void => {
      const status = health(call.request.service) ?? "SERVICE_UNKNOWN";
      if (status !== said && !call.writableNeedDrain) {
        call.write({ status });
        said = status;
      }
    };
    const timer = setInterval(say, WATCH_INTERVAL_MS);
    timer.unref();
    call.on("cancelled", () => {
      clearInterval(timer);
      call.end();
    });
    say();
  };
}

function definitionOf(name: string): ServiceDefinition {
  const definition = packages[name];
  invariant(definition !== undefined && !("format" in definition), `no service ${name} in proto/`);
  return definition as ServiceDefinition;
}
