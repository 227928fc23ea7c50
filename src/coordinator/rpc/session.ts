/**
 * Session: one stream per worker. The first message says who it is; after that everything goes to the run as it comes, and
 * the stream's end, however it comes, is the worker's end.
 */
import type { handleBidiStreamingCall, ServerDuplexStream } from "@grpc/grpc-js";
import { status } from "@grpc/grpc-js";
import type { FromWorker, ToWorker, Welcome } from "../../wire/messages.js";
import { refusal } from "../../wire/refusal.js";
import type { Run } from "../run.js";

export function sessionHandler(run: Run, welcome: Welcome): handleBidiStreamingCall<FromWorker, ToWorker> {
  return (call: ServerDuplexStream<FromWorker, ToWorker>) => {
    let incarnation: string | null = null;
    let isOpen = true;
    const left = (reason: string): void => {
      if (!isOpen) return;
      isOpen = false;
      if (incarnation !== null) run.disconnected(incarnation, port, reason);
    };
    const port = {
      send(message: ToWorker): void {
        if (isOpen) call.write(message);
      },
      close(): void {
        if (!isOpen) return;
        isOpen = false;
        call.end();
      },
    };
    call.on("data", (message: FromWorker) => {
      if (!isOpen) return;
      if (incarnation !== null) {
        run.receive(incarnation, message);
      } else if (message.kind === "hello") {
        call.write({ kind: "welcome", ...welcome });
        incarnation = message.incarnation;
        try {
          run.join(message, port);
        } catch (error) {
          isOpen = false;
          call.emit("error", refusal(error));
        }
      } else {
        isOpen = false;
        call.emit("error", { code: status.FAILED_PRECONDITION, details: `a session begins with a hello, not with ${message.kind}` });
      }
    });
    call.on("end", () => {
      left("its session ended");
      call.end();
    });
    call.on("cancelled", () => left("its connection was lost"));
    call.on("error", (error: Error) => left(`its session failed: ${error.message}`));
  };
}
