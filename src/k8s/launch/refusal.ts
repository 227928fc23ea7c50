/** What an API server, or the way to it, answered instead of what was asked: as an error for a person, with what to do. */
import { ApiException } from "@kubernetes/client-node";
import { IsoergError } from "../../util/error.js";

/** @param what it was about: an object, a list, a log */
export function refusalOf(error: unknown, what: string, server: string): IsoergError {
  if (!(error instanceof ApiException))
    return new IsoergError("NETWORK", `the API server ${server} can't be reached: ${(error as Error).message}`, { cause: error });
  const message = messageOf(error.body) ?? `HTTP ${error.code}`;
  if (error.code === 401 || error.code === 403) return new IsoergError("USAGE", `${what}: not allowed: ${message}`, { cause: error });
  if (error.code === 409)
    return new IsoergError("USAGE", `${what}: others have changed what is to be applied: ${message}`, { cause: error });
  if (error.code === 422 && /immutable/.test(message))
    return new IsoergError("USAGE", `${what} is there already, with other settings that can't be changed: ${withoutValues(message)}`, {
      hint: "Give --name another name, or delete the run first.",
      cause: error,
    });
  return new IsoergError("USAGE", `${what}: refused: ${message}`, { cause: error });
}

/** The server repeats what it refuses, a pod's template for example in one line of thousands of characters. */
function withoutValues(message: string): string {
  return message.replace(/: Invalid value: (\{.*\}|\S*\{.*\}): /gs, ": ");
}

function messageOf(body: unknown): string | undefined {
  const parsed: unknown = typeof body === "string" ? safely(body) : body;
  return typeof parsed === "object" && parsed !== null && "message" in parsed ? String(parsed.message) : undefined;
}

function safely(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
