/** An error as gRPC tells it to the other side: the sentence, never the stack. */
import { status } from "@grpc/grpc-js";
import { IsoergError } from "../util/error.js";

export function refusal(error: unknown): { code: status; details: string } {
  if (!(error instanceof IsoergError)) return { code: status.INTERNAL, details: error instanceof Error ? error.message : String(error) };
  const details = error.hint === undefined ? error.message : `${error.message}. ${error.hint}`;
  const code =
    error.code === "STOPPED"
      ? status.ABORTED
      : error.code === "CHECKPOINT" || error.code === "DATA"
        ? status.DATA_LOSS
        : status.FAILED_PRECONDITION;
  return { code, details };
}
