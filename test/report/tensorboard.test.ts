/** Event files against TensorFlow's own bytes and against another reader: frames by hand, messages by protobufjs from the published schema. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import protobuf from "protobufjs";
import { afterEach, expect, it, vi } from "vitest";
import { createEventWriter, createTensorBoardSink, tfRecord } from "../../src/report/tensorboard.js";

// The part of tensorflow/core/util/event.proto and summary.proto that is written.
const Event = protobuf
  .parse(`syntax = "proto3"; package t;
    message Event { double wall_time = 1; int64 step = 2; oneof what { string file_version = 3; Summary summary = 5; SessionLog session_log = 7; } }
    message SessionLog { int32 status = 1; }
    message Summary { message Image { int32 height = 1; int32 width = 2; int32 colorspace = 3; bytes encoded_image_string = 4; }
      message Value { string tag = 1; oneof value { float simple_value = 2; Image image = 4; } } repeated Value value = 1; }`)
  .root.lookupType("t.Event");

const folders: string[] = [];
const freshFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "isoerg-tensorboard-"));
  folders.push(folder);
  return folder;
};
afterEach(() => {
  vi.useRealTimers();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** Bit by bit, from the polynomial: shares nothing with the tables under test. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

function unmask(masked: number): number {
  const rotated = (masked - 0xa282ead8) >>> 0;
  return ((rotated << 15) | (rotated >>> 17)) >>> 0;
}

function eventsOf(folder: string): Record<string, unknown>[] {
  const [name] = readdirSync(folder);
  expect(name).toMatch(/^events\.out\.tfevents\.\d{10}\./);
  const bytes = readFileSync(join(folder, name as string));
  const events: Record<string, unknown>[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    expect(unmask(bytes.readUInt32LE(at + 8))).toBe(crc32c(bytes.subarray(at, at + 8)));
    const message = bytes.subarray(at + 12, at + 12 + length);
    expect(unmask(bytes.readUInt32LE(at + 12 + length))).toBe(crc32c(message));
    events.push(Event.toObject(Event.decode(message), { longs: Number, defaults: false }));
    at += 16 + length;
  }
  return events;
}

it("frames records as TensorFlow does", () => {
  // The first twelve bytes of every event file that TensorFlow writes: a message of 24 bytes, and the masked checksum of that length.
  expect([...tfRecord(new Uint8Array(24)).subarray(0, 12)]).toEqual([0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22]);
});

it("writes scalars and pictures that another reader decodes", async () => {
  const folder = freshFolder();
  const writer = await createEventWriter(folder, { now: () => new Date(1_700_000_000_123), host: "here" });
  writer.scalars({ step: 300, timeMs: 1_700_000_001_500 }, { loss: 0.25, "energy/clean": -3 });
  writer.image({ step: 2 ** 33, timeMs: 1_700_000_002_000 }, "samples", { png: Uint8Array.of(1, 2, 3), width: 200, height: 7 });
  writer.scalars({ step: 301, timeMs: 0 }, {});
  await writer.close();
  const [version, scalars, image, ...rest] = eventsOf(folder);
  expect(rest).toEqual([]);
  expect(version).toMatchObject({ wallTime: 1_700_000_000.123, fileVersion: "brain.Event:2" });
  expect(scalars).toMatchObject({
    wallTime: 1_700_000_001.5,
    step: 300,
    summary: {
      value: [
        { tag: "loss", simpleValue: 0.25 },
        { tag: "energy/clean", simpleValue: -3 },
      ],
    },
  });
  expect(image).toMatchObject({
    step: 2 ** 33,
    summary: { value: [{ tag: "samples", image: { width: 200, height: 7, colorspace: 3, encodedImageString: Buffer.of(1, 2, 3) } }] },
  });
});

it("puts what a second brought into the file together, without being closed", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const folder = freshFolder();
  const writer = await createEventWriter(folder, { now: () => new Date(1_700_000_000_123), host: "here" });
  for (const step of [1, 2, 3]) writer.scalars({ step, timeMs: 0 }, { loss: step });
  vi.advanceTimersByTime(999);
  expect(eventsOf(folder)).toHaveLength(1); // the version, at once
  vi.advanceTimersByTime(1);
  vi.useRealTimers();
  await vi.waitFor(() => expect(eventsOf(folder).map(({ step }) => step ?? 0)).toEqual([0, 1, 2, 3]));
  await writer.close();
});

it("voids what a run took back", async () => {
  const folder = freshFolder();
  const sink = await createTensorBoardSink(folder, { now: () => new Date(1_700_000_000_000), host: "here" });
  const record = (step: number) => ({
    step,
    epoch: step / 10,
    generation: 1,
    worldSize: 1,
    batchSize: 8,
    time: "2026-01-01T00:00:00.000Z",
    stepMs: 5,
    samplesPerSecond: 0,
    metrics: { loss: step },
    phasesMs: [{ attack: 3 }],
  });
  for (const step of [0, 1, 2, 1, 2]) await sink.write(record(step));
  await sink.close();
  const events = eventsOf(folder).slice(1);
  expect(events.map((event) => [event.step ?? 0, "sessionLog" in event])).toEqual([
    [0, false],
    [1, false],
    [2, false],
    [1, true],
    [1, false],
    [2, false],
  ]);
  expect(JSON.stringify(events[1])).toContain("phase-ms/attack");
});
