/**
 * Metrics for TensorBoard: an event file (`events.out.tfevents.*`) of TFRecord frames, each one `Event` message of TensorFlow's
 * event.proto. Only the few fields that scalars and pictures need are written, by hand: no TensorFlow is wanted here.
 *
 * A frame is: length (uint64, little-endian), masked CRC-32C of the length, the message, masked CRC-32C of the message.
 * Where a run goes back to a checkpoint, or a new process goes on, an event says from which step on earlier ones are void: no
 * curve doubles back.
 */
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { MetricSink } from "../coordinator/events.js";
import { crc32c } from "../util/crc32.js";

export interface EventWriter {
  scalars(at: { step: number; timeMs: number }, values: Readonly<Record<string, number>>): void;
  image(at: { step: number; timeMs: number }, tag: string, picture: { png: Uint8Array; width: number; height: number }): void;
  /** Makes events of this step and later ones void that were written before, in older files of the folder too. */
  restart(at: { step: number; timeMs: number }): void;
  /** @throws where the last events could not be written */
  close(): Promise<void>;
}

export interface EventWriterOptions {
  readonly now: () => Date;
  /** Part of the file's name; TensorBoard shows it nowhere. */
  readonly host: string;
}

/** Opens a new event file in a folder; those of earlier processes stay, TensorBoard reads them as one. */
export async function createEventWriter(folder: string, { now, host }: EventWriterOptions): Promise<EventWriter> {
  const begunMs = now().getTime();
  const seconds = String(Math.floor(begunMs / 1000)).padStart(10, "0");
  const file = await open(join(folder, `events.out.tfevents.${seconds}.${host}.isoerg.${begunMs % 1000}`), "a");
  const append = createAppender(file);
  append(event({ step: 0, timeMs: begunMs }, bytesField(3, text("brain.Event:2"))));
  await append.flush();
  return {
    scalars(at, values) {
      const fields = Object.entries(values).map(([tag, value]) => bytesField(1, bytesField(1, text(tag)), floatField(2, value)));
      if (fields.length > 0) append(event(at, bytesField(5, ...fields)));
    },
    image(at, tag, { png, width, height }) {
      const image = [varintField(1, height), varintField(2, width), varintField(3, COLORSPACE_RGB), bytesField(4, png)];
      append(event(at, bytesField(5, bytesField(1, bytesField(1, text(tag)), bytesField(4, ...image)))));
    },
    restart: (at) => append(event(at, bytesField(7, varintField(1, SESSION_START)))),
    async close() {
      try {
        await append.flush();
      } finally {
        await file.close();
      }
    },
  };
}

/** A run's metrics as they are committed. */
export async function createTensorBoardSink(folder: string, options: EventWriterOptions): Promise<MetricSink> {
  const writer = await createEventWriter(folder, options);
  let lastStep = -1;
  return {
    async write({ step, time, epoch, stepMs, samplesPerSecond, metrics, phasesMs }) {
      const at = { step, timeMs: Date.parse(time) };
      if (step !== lastStep + 1) writer.restart(at);
      lastStep = step;
      const phases = Object.entries(phasesMs[0] ?? {}).map(([name, ms]): [string, number] => [`phase-ms/${name}`, ms]);
      writer.scalars(at, {
        ...metrics,
        ...Object.fromEntries(phases),
        "run/epoch": epoch,
        "run/step-ms": stepMs,
        "run/samples-per-second": samplesPerSecond,
      });
    },
    close: writer.close,
  };
}

const SESSION_START = 1;
const COLORSPACE_RGB = 3;

/** A frame around one message. */
export function tfRecord(message: Uint8Array): Uint8Array {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(message.length));
  return Buffer.concat([length, masked(length), message, masked(message)]);
}

/** Checksums are masked because records may hold records: ((crc >> 15) | (crc << 17)) + 0xa282ead8. */
function masked(bytes: Uint8Array): Uint8Array {
  const crc = crc32c(bytes);
  const out = Buffer.alloc(4);
  out.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0);
  return out;
}

interface Appender {
  /** It is in the file a second later. @throws what an earlier write failed with */
  (message: Uint8Array): void;
  /** Writes what was gathered. */
  flush(): Promise<void>;
}

/** TensorBoard looks every few seconds; a write for every step would wake threads whose processor the steps need. */
const GATHER_MS = 1_000;

/** In the order of the calls, many frames in one write. */
function createAppender(file: FileHandle): Appender {
  let gathered: Uint8Array[] = [];
  let timer: NodeJS.Timeout | undefined;
  let written: Promise<void> = Promise.resolve();
  let failure: Error | null = null;
  const flush = (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    const frames = Buffer.concat(gathered);
    gathered = [];
    written = written.then(() => file.appendFile(frames));
    return written;
  };
  const append = (message: Uint8Array): void => {
    if (failure) throw failure;
    gathered.push(tfRecord(message));
    timer ??= setTimeout(() => {
      flush().catch((error: Error) => {
        failure = error;
      });
    }, GATHER_MS);
  };
  return Object.assign(append, { flush });
}

/** Event: wall_time = 1 (double, seconds), step = 2 (int64), then its content. */
function event({ step, timeMs }: { step: number; timeMs: number }, content: Uint8Array): Uint8Array {
  const time = Buffer.alloc(9);
  time[0] = (1 << 3) | 1;
  time.writeDoubleLE(timeMs / 1000, 1);
  return Buffer.concat([time, varintField(2, step), content]);
}

function bytesField(field: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(content);
  return Buffer.concat([varint((field << 3) | 2), varint(body.length), body]);
}

function varintField(field: number, value: number): Uint8Array {
  return Buffer.concat([varint(field << 3), varint(value)]);
}

function floatField(field: number, value: number): Uint8Array {
  const out = Buffer.alloc(5);
  out[0] = (field << 3) | 5;
  out.writeFloatLE(value, 1);
  return out;
}

/** Of a whole number from 0 to 2^53. */
function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  return Uint8Array.from([...bytes, rest]);
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}
