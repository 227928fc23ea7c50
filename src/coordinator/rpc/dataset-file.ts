/** DatasetFile: one of the few files that workers may ask for by name, in pieces. Any other name is refused: no path leads out. */
import type { handleServerStreamingCall } from "@grpc/grpc-js";
import { IsoergError } from "../../util/error.js";
import type { DatasetFileRequest, FileBlock } from "../../wire/messages.js";
import { BLOCK_BYTES } from "../../wire/proto.js";
import { refusal } from "../../wire/refusal.js";
import { writeWithPressure } from "../../wire/write.js";

/** By name; each is read (and checked) when it is asked for. */
export type DatasetFiles = Readonly<Record<string, () => Promise<Uint8Array>>>;

export function datasetFileHandler(files: DatasetFiles): handleServerStreamingCall<DatasetFileRequest, FileBlock> {
  return (call) => {
    const send = async (): Promise<void> => {
      const { name } = call.request;
      const read = Object.hasOwn(files, name) ? files[name] : undefined;
      if (read === undefined) throw new IsoergError("DATA", `the coordinator has no file '${name}' of the data set to give away`);
      const bytes = await read();
      for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
        if (!(await writeWithPressure(call, { data: bytes.subarray(at, at + BLOCK_BYTES) }))) return;
      }
      call.end();
    };
    send().catch((error) => call.emit("error", refusal(error)));
  };
}
