/** --coordinator or --run, the same on the commands that speak to a run that is under way. */
import type { Client } from "@grpc/grpc-js";
import type { Command } from "commander";
import { checkExposure } from "../../security/security.js";
import { IsoergError } from "../../util/error.js";
import { openClient, waitForCoordinator } from "../../wire/client.js";
import { addSecurityOptions, type SecurityFlags, securityOf } from "../security-options.js";
import { leaderOf } from "./run-folder.js";

export interface WhichRun extends SecurityFlags {
  readonly coordinator?: string;
  readonly run?: string;
}

const CONNECT_TIMEOUT_MS = 5_000;

export function addWhichRun(command: Command): Command {
  return addSecurityOptions(
    command
      .option("--coordinator <host:port>", "the coordinator's address")
      .option("--run <dir>", "folder of a run that is led from this machine"),
  );
}

/** Calls a run's coordinator. @throws IsoergError USAGE when the run isn't named, NETWORK when nobody answers. */
export async function withCoordinator<T>({ coordinator, run, ...flags }: WhichRun, call: (client: Client) => Promise<T>): Promise<T> {
  if (coordinator === undefined && run === undefined)
    throw new IsoergError("USAGE", "which run? Give --coordinator HOST:PORT or --run DIR");
  const address = coordinator ?? (await leaderOf(run as string));
  const security = securityOf(flags, "client");
  checkExposure(`speaking to ${address}`, address, security, { insecure: flags.insecure === true });
  const client = openClient(address, security);
  try {
    await waitForCoordinator(client, address, CONNECT_TIMEOUT_MS, security);
    return await call(client);
  } finally {
    client.close();
  }
}
