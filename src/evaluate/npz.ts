/**
 * Arrays as NumPy reads them: one .npy each (format 1.0), together in an .npz, which is a zip without compression.
 * Follows numpy.lib.format and the zip application note (APPNOTE 4.3); sizes stay below the 4 GiB of plain zip.
 */
import { crc32 } from "../util/crc32.js";
import { IsoergError } from "../util/error.js";

export interface NumpyArray {
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array | Int32Array | Uint8Array;
}

/** One array as a .npy file. */
export function npy({ shape, data }: NumpyArray): Uint8Array {
  const kind = data instanceof Float32Array ? "<f4" : data instanceof Float64Array ? "<f8" : data instanceof Int32Array ? "<i4" : "|u1";
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const header = `{'descr': '${kind}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const padded = `${header.padEnd(Math.ceil((10 + header.length + 1) / 64) * 64 - 11)}\n`; // the data begin at a multiple of 64
  const length = Buffer.alloc(2);
  length.writeUInt16LE(padded.length);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return Buffer.concat([Buffer.from("\x93NUMPY\x01\x00", "latin1"), length, Buffer.from(padded, "latin1"), bytes]);
}

/** Arrays by name as an .npz file. */
export function npz(arrays: Readonly<Record<string, NumpyArray>>): Uint8Array {
  const pieces: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const [name, array] of Object.entries(arrays)) {
    const fileName = Buffer.from(`${name}.npy`);
    const content = npy(array);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0); // version needed: 2.0
    common.writeUInt16LE(0x0800, 2); // names are UTF-8
    common.writeUInt16LE(0, 4); // stored
    common.writeUInt32LE(0x00210000, 6); // 1980-01-01, the earliest date: the same arrays give the same file
    common.writeUInt32LE(crc32(content), 10);
    common.writeUInt32LE(content.length, 14);
    common.writeUInt32LE(content.length, 18);
    common.writeUInt16LE(fileName.length, 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), common, fileName]);
    const placement = Buffer.alloc(14);
    placement.writeUInt32LE(offset, 10); // before it: comment, disk and attributes, all zero
    directory.push(Buffer.concat([Buffer.from("PK\x01\x02\x14\x00", "latin1"), common, placement, fileName]));
    pieces.push(local, content);
    offset += local.length + content.length;
    if (offset > 0xffffffff)
      throw new IsoergError("USAGE", "the samples exceed the 4 GiB of one .npz file", { hint: "Write fewer samples to each file." });
  }
  const directoryBytes = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", 0, "latin1");
  end.writeUInt16LE(directory.length, 8);
  end.writeUInt16LE(directory.length, 10);
  end.writeUInt32LE(directoryBytes.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...pieces, directoryBytes, end]);
}
