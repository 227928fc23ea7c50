/** RunControl: what people ask of a run that is under way. Status, a live feed of it, and an orderly stop. */
import type { handleServerStreamingCall, handleUnaryCall } from "@grpc/grpc-js";
import type { RunStatus, StopReply, StopRequest } from "../../wire/messages.js";
import type { Run } from "../run.js";

const WATCH_INTERVAL_MS = 250;

export function statusHandler(run: Run): handleUnaryCall<object, RunStatus> {
  return (_call, reply) => reply(null, run.status());
}

/** The present status, then each change, until the run or the caller ends. */
export function watchHandler(run: Run): handleServerStreamingCall<object, RunStatus> {
  return (call) => {
    let sent = "";
    const send = (): void => {
      const status = run.status();
      const text = JSON.stringify(status);
      const isOver = status.state === "finished" || status.state === "stopped" || status.state === "failed";
      if (text !== sent && (isOver || !call.writableNeedDrain)) {
        call.write(status);
        sent = text;
      }
      if (!isOver) return;
      clearInterval(timer);
      call.end();
    };
    const timer = setInterval(send, WATCH_INTERVAL_MS);
    call.on("cancelled", () => clearInterval(timer));
    send();
  };
}

export function stopHandler(run: Run): handleUnaryCall<StopRequest, StopReply> {
  return (call, reply) => {
    const { step } = run.status();
    run.requestStop(call.request.reason === "" ? "asked by isoerg stop" : call.request.reason);
    reply(null, { step });
  };
}
