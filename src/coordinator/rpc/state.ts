/**
 * SaveState and LoadState: checkpoints between workers and the store, tensor by tensor in pieces of about 1 MiB. A worker
 * that loads takes whole files or, of `buffer`, the rows of its positions only.
 */
import type { handleClientStreamingCall, handleServerStreamingCall } from "@grpc/grpc-js";
import type { CheckpointFile, CheckpointStore, LoadedCheckpoint } from "../../checkpoint/store.js";
import { IsoergError } from "../../util/error.js";
import type { LoadStateRequest, SaveStateReply, StateBlock } from "../../wire/messages.js";
import { BLOCK_BYTES } from "../../wire/proto.js";
import { refusal } from "../../wire/refusal.js";
import { writeWithPressure } from "../../wire/write.js";
import type { Run } from "../run.js";

export function saveStateHandler(run: Run): handleClientStreamingCall<StateBlock, SaveStateReply> {
  return (call, reply) => {
    let first: StateBlock | undefined;
    let receivedBytes = 0;
    let refused = false;
    call.on("data", (block: StateBlock) => {
      if (refused) return;
      first ??= block;
      receivedBytes += block.data.length;
      try {
        if (block.tensor !== "") run.saveState(block);
      } catch (error) {
        refused = true;
        reply(refusal(error));
      }
    });
    call.on("end", () => {
      if (refused) return;
      if (first) run.saveStateComplete(first);
      reply(null, { receivedBytes });
    });
    call.on("error", () => {
      refused = true; // the worker is gone; its session says so to the run
    });
  };
}

export function loadStateHandler(store: CheckpointStore): handleServerStreamingCall<LoadStateRequest, StateBlock> {
  const load = rememberLast(store);
  return (call) => {
    const send = async (): Promise<void> => {
      const checkpoint = await load(call.request.step);
      for (const file of call.request.files) {
        const tensors = Object.hasOwn(checkpoint.files, file) ? checkpoint.files[file as CheckpointFile] : undefined;
        if (tensors === undefined) throw new IsoergError("PROTOCOL", `a checkpoint has no file '${file}'`);
        for (const [tensor, { dtype, shape, data }] of tensors) {
          const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
          const rowBytes = shape[0] ? bytes.length / shape[0] : 0;
          const { rowFrom, rowTo } = call.request;
          const rows =
            file === "buffer" && rowTo > 0
              ? { from: Math.min(rowFrom * rowBytes, bytes.length), to: Math.min(rowTo * rowBytes, bytes.length) }
              : { from: 0, to: bytes.length };
          for (let offset = rows.from; offset === rows.from || offset < rows.to; offset += BLOCK_BYTES) {
            const piece = bytes.subarray(offset, Math.min(offset + BLOCK_BYTES, rows.to));
            const head = { generation: 0, step: call.request.step, rank: 0, file, tensor, dtype, shape, offset };
            if (!(await writeWithPressure(call, { ...head, data: piece }))) return;
          }
        }
      }
      call.end();
    };
    send().catch((error) => call.emit("error", refusal(error)));
  };
}

/** All workers of a generation load the same checkpoint at about the same time: it is read and proved once. */
function rememberLast(store: CheckpointStore): (step: number) => Promise<LoadedCheckpoint> {
  let last: { step: number; loaded: Promise<LoadedCheckpoint> } | undefined;
  let forget: NodeJS.Timeout | undefined;
  return (step) => {
    if (last?.step !== step) {
      last = { step, loaded: store.load(step) };
      last.loaded.catch(() => {
        last = undefined;
      });
    }
    clearTimeout(forget);
    forget = setTimeout(() => {
      last = undefined;
    }, 30_000).unref();
    return last.loaded;
  };
}
