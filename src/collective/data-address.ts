/**
 * Where a rank takes in what the others send it, and how they are told: the same for the ring, for partners, for streams, and for the
 * server that a worker gives its state from.
 */
import type { DataPorts } from "./data-ports.js";

export interface DataAddress {
  /** Address to listen on. Default: loopback. */
  readonly host?: string;
  /** The address that peers connect to, where that isn't the one listened on (0.0.0.0, or behind a translation). */
  readonly advertisedHost?: string;
  /** Ports to listen on. Default: any that is free. */
  readonly ports?: DataPorts;
}

export const LOOPBACK = "127.0.0.1";

/** HOST:PORT, an IPv6 address in brackets (RFC 3986, section 3.2.2). */
export function hostPort(host: string, port: number | string): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** What peers connect to, once `port` is bound. */
export function advertised({ host = LOOPBACK, advertisedHost = host }: DataAddress, port: number | string): string {
  return hostPort(advertisedHost, port);
}

/** All but the port of HOST:PORT, or of an endpoint that ends so: alike for two on one host. */
export function hostOf(endpoint: string): string {
  return endpoint.slice(0, endpoint.lastIndexOf(":"));
}

/** The port of HOST:PORT, or of an endpoint that ends so. */
export function portOf(endpoint: string): string {
  return endpoint.slice(endpoint.lastIndexOf(":") + 1);
}
