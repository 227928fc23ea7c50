/**
 * Between what proto-loader makes of a message and the types of `messages.ts`.
 *
 * proto-loader is set to give 64-bit fields as strings, enums as their proto names and `oneof`s as a name beside the field
 * (see `proto.ts`); here they become numbers or bigint, plain words and discriminated unions, and back. Field names that
 * carry 64 bits are listed once, below: a new one that is forgotten shows as a string in the round-trip test.
 */
import { IsoergError } from "../util/error.js";

type Raw = Readonly<Record<string, unknown>>;

/** Counts and offsets: safe integers by contract. */
const COUNTS = new Set([
  "step",
  "holdsStep",
  "pendingStep",
  "checkpointStep",
  "fromStep",
  "numSteps",
  "offset",
  "receivedBytes",
  "rowFrom",
  "rowTo",
]);
const ENUM_PREFIX: Readonly<Record<string, string>> = { fault: "FAULT_", restore: "RESTORE_", outcome: "STOP_" };

export interface Codec<T> {
  toWire(value: T): object;
  fromWire(raw: object): T;
}

/** For a message without a `oneof`. The wire's own types hold the rest of the shape: proto3 fills in every field. */
export function plain<T extends object>(): Codec<T> {
  return { toWire: (value) => outward(value as Raw), fromWire: (raw) => inward(raw as Raw) as T };
}

/** For a message that is one `oneof` named `message`: `{kind, ...fields}`. */
export function union<T extends { readonly kind: string }>(): Codec<T> {
  return {
    toWire: ({ kind, ...fields }) => ({ [kind]: outward(fields) }),
    fromWire(raw) {
      const { message: kind, ...rest } = raw as Raw;
      const fields = typeof kind === "string" ? rest[kind] : undefined;
      if (typeof kind !== "string" || typeof fields !== "object" || fields === null) {
        throw new IsoergError("PROTOCOL", "a message of an unknown kind arrived", {
          hint: "Coordinator and workers must be of the same version.",
        });
      }
      return { kind, ...inward(fields as Raw) } as unknown as T;
    },
  };
}

function outward(fields: Raw): Raw {
  const raw: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    const prefix = ENUM_PREFIX[name];
    if (typeof value === "bigint") raw[name] = value.toString();
    else if (prefix !== undefined) raw[name] = prefix + String(value).toUpperCase().replaceAll("-", "_");
    else if (Array.isArray(value) && typeof value[0] === "object") raw[name] = value.map((item) => outward(item as Raw));
    else raw[name] = value;
  }
  return raw;
}

function inward(raw: Raw): Raw {
  const fields: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(raw)) {
    const prefix = ENUM_PREFIX[name];
    if (COUNTS.has(name)) fields[name] = safeInteger(name, value);
    else if (name === "shape") fields[name] = (value as string[]).map((size) => safeInteger(name, size));
    else if (name === "checksum") fields[name] = BigInt(value as string);
    else if (prefix !== undefined) fields[name] = enumWord(name, value, prefix);
    else if (Array.isArray(value) && typeof value[0] === "object") fields[name] = value.map((item) => inward(item as Raw));
    else fields[name] = value;
  }
  return fields;
}

/** A number that no name of the enum has comes as that number. */
function enumWord(name: string, value: unknown, prefix: string): string {
  if (typeof value === "string" && value.startsWith(prefix)) return value.slice(prefix.length).toLowerCase().replaceAll("_", "-");
  throw new IsoergError("PROTOCOL", `a message came with ${name} = ${String(value)}, which is unknown here`, {
    hint: "Coordinator and workers must be of the same version.",
  });
}

function safeInteger(name: string, value: unknown): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new IsoergError("PROTOCOL", `a message came with ${name} = ${String(value)}, which is no count`, {
    hint: "Coordinator and workers must be of the same version.",
  });
}
