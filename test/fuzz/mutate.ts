/**
 * Changes sound inputs into unsound ones, as attackers, torn writes and editors do: bytes flipped, cut, repeated, spliced; lengths
 * overwritten with the numbers on which arithmetic breaks; JSON values exchanged for ones of another kind, keys doubled or renamed to
 * what JavaScript objects inherit.
 */
import type { Random } from "./random.js";

/** What an input is made of, so that mutations reach behind the first check. */
export type InputKind = "bytes" | "text" | "mixed" | "json" | "json-lines";

const NUMBERS = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff] as const;
const WORDS = [
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "..",
  "../../etc/passwd",
  "/etc/passwd",
  "a/../../b",
  ".",
  "\u0000",
  "null",
  "true",
  "NaN",
  "-0",
  "1e309",
  "-1",
  "1.5",
  "9007199254740993",
  "99999999999999999999",
  "\ud800",
  "\ufeff",
  "\n",
  "{",
  "[",
  '"',
  "&x",
  "*x",
  "&x [*x, *x]",
  "<<: *x",
  "!!binary x",
] as const;
const VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  2 ** 53 - 1,
  1e308,
  -1e308,
  5e-324,
  "",
  "x",
  "..",
  "../x",
  "/x",
  "x/y",
  "\u0000",
  "__proto__",
  "constructor",
  [],
  {},
  [null],
  [[]],
  [-1],
  { length: 2 ** 32 },
];

/** One mutated input. `others` are seeds to splice with. */
export function mutate(seed: Uint8Array, kind: InputKind, others: readonly Uint8Array[], random: Random): Uint8Array {
  if (random.oneIn(12)) return noise(random);
  if (kind === "json" && !random.oneIn(4)) return mutateJson(seed, random);
  if (kind === "json-lines" && !random.oneIn(4)) return mutateLines(seed, random);
  let bytes: Uint8Array = new Uint8Array(seed); // not `slice`, which of a Buffer is no copy
  for (let i = 1 + random.below(random.oneIn(4) ? 8 : 3); i > 0; i--) {
    bytes = kind === "bytes" || random.oneIn(3) ? mutateBytes(bytes, others, random) : mutateText(bytes, random);
  }
  return bytes;
}

/** Bytes without any structure. */
function noise(random: Random): Uint8Array {
  return Uint8Array.from({ length: random.below(random.oneIn(8) ? 4096 : 96) }, () => random.below(256));
}

function mutateBytes(bytes: Uint8Array, others: readonly Uint8Array[], random: Random): Uint8Array {
  if (bytes.length === 0) return noise(random);
  // Lengths and magic numbers stand at the beginning: half of the changes are made there.
  const at = random.oneIn(2) ? random.below(Math.min(bytes.length, 64)) : random.below(bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (random.below(10)) {
    case 0:
      bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
      return bytes;
    case 1:
      bytes[at] = random.below(256);
      return bytes;
    case 2:
      if (at + 2 <= bytes.length) view.setUint16(at, random.pick(NUMBERS), random.oneIn(2));
      return bytes;
    case 3:
      if (at + 4 <= bytes.length) view.setUint32(at, random.pick(NUMBERS), random.oneIn(2));
      return bytes;
    case 4:
      if (at + 8 <= bytes.length) view.setBigUint64(at, random.pick([2n ** 64n - 1n, 2n ** 63n, 2n ** 53n, 2n ** 32n, 0n]), true);
      return bytes;
    case 5:
      return bytes.slice(0, at); // cut off
    case 6:
      return joined(bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + random.below(16)))); // a piece is missing
    case 7:
      return joined(bytes.subarray(0, at), noise(random), bytes.subarray(at));
    case 8: {
      const piece = bytes.subarray(at, at + 1 + random.below(64));
      return joined(bytes.subarray(0, at), ...Array.from({ length: 2 + random.below(4) }, () => piece), bytes.subarray(at));
    }
    default: {
      const other = others.length > 0 ? random.pick(others) : bytes;
      return joined(bytes.subarray(0, at), other.subarray(random.below(other.length + 1)));
    }
  }
}

/** By words and lines. Bytes that are no text stay what they are. */
function mutateText(bytes: Uint8Array, random: Random): Uint8Array {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  const encoded = (changed: string): Uint8Array => new Uint8Array(Buffer.from(changed, "latin1"));
  const lines = text.split("\n");
  const line = random.below(lines.length);
  switch (random.below(7)) {
    case 0: {
      const words = [...text.matchAll(/[\w.+-]+/g)];
      if (words.length === 0) return encoded(random.pick(WORDS));
      const { 0: word, index } = random.pick(words);
      return encoded(text.slice(0, index) + random.pick(WORDS) + text.slice(index + word.length));
    }
    case 1:
      return encoded(text.replace(/-?\d+(\.\d+)?/g, (number) => (random.oneIn(6) ? String(random.pick(NUMBERS)) : number)));
    case 2:
      lines.splice(line, 1);
      return encoded(lines.join("\n"));
    case 3:
      lines.splice(random.below(lines.length), 0, lines[line] as string);
      return encoded(lines.join("\n"));
    case 4:
      lines[line] = " ".repeat(random.below(6)) + (lines[line] as string).trim();
      return encoded(lines.join("\n"));
    case 5: {
      const depth = random.pick([3, 40, 2000, 20_000]);
      const [open, close] = random.pick([
        ["[", "]"],
        ["{a: ", "}"],
        ["- ", ""],
        ['{"a":', "}"],
      ] as const);
      return encoded(text + open.repeat(depth) + (random.oneIn(2) ? close.repeat(depth) : ""));
    }
    default:
      return encoded(`${text.slice(0, random.below(text.length + 1))}${random.pick(WORDS)}`);
  }
}

function mutateLines(bytes: Uint8Array, random: Random): Uint8Array {
  const lines = new TextDecoder().decode(bytes).split("\n");
  const at = random.below(Math.max(1, lines.length - 1));
  const line = lines[at] ?? "";
  const what = random.below(6);
  if (what === 0) lines.splice(at, 1);
  else if (what === 1) lines.splice(random.below(lines.length), 0, line);
  else lines[at] = new TextDecoder().decode(mutateJson(encoded(line), random));
  return encoded(lines.join("\n"));
}

/** Exchanges values, keys and lengths of a JSON text; still JSON, but for keys that stand twice. */
function mutateJson(bytes: Uint8Array, random: Random): Uint8Array {
  let root: unknown;
  try {
    root = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return mutateText(bytes, random);
  }
  const holder: Record<string, unknown> = { root };
  const set = (target: object, key: string, value: unknown): void => {
    Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
  };
  for (let i = 1 + random.below(2); i > 0; i--) {
    const [parent, key] = place(holder, random);
    const target = parent as Record<string, unknown>;
    switch (random.below(6)) {
      case 0:
        if (Array.isArray(parent)) parent.splice(Number(key), 1);
        else if (parent !== holder) delete target[key];
        break;
      case 1: {
        if (!Array.isArray(parent)) set(target, random.pick(WORDS), target[key]);
        break;
      }
      case 2:
        if (Array.isArray(parent)) parent.push(...(parent.slice(0, 3) as unknown[]));
        else set(target, `${key}x`, target[key]);
        break;
      case 3: {
        const value = target[key];
        if (typeof value === "number") set(target, key, random.oneIn(2) ? value + 1 : value * random.pick([-1, 2, 0.5, 1e9]));
        else if (typeof value === "string") set(target, key, random.oneIn(2) ? `${value}${random.pick(WORDS)}` : value.slice(1));
        else set(target, key, random.pick(VALUES));
        break;
      }
      default:
        set(target, key, random.pick(VALUES));
    }
  }
  return encoded(JSON.stringify(holder.root) ?? "");
}

/** Any place of the tree below `holder`, deep ones as likely as shallow ones. */
function place(holder: Record<string, unknown>, random: Random): [object, string] {
  let parent: object = holder;
  let key = "root";
  for (;;) {
    const value = (parent as Record<string, unknown>)[key];
    const keys = typeof value === "object" && value !== null ? Object.keys(value) : [];
    if (keys.length === 0 || (random.oneIn(5) && parent !== holder)) return [parent, key];
    parent = value as object;
    key = random.pick(keys);
  }
}

function joined(...pieces: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function encoded(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
