/**
 * The join token: a secret that every call to a run's processes carries, beside or instead of a client certificate. It comes from
 * a file, never from the command line, whose words other users of a machine can read; it is compared in constant time, and by digest,
 * so that neither its content nor its length shows in how long that takes.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { IsoergError } from "../util/error.js";

const MIN_LENGTH = 16;
const MAX_LENGTH = 4096;

/** Keeps a secret out of logs and dumps: it shows as what it is, not as what it says. */
export class Token {
  readonly #text: string;
  readonly #digest: Buffer;

  constructor(text: string) {
    this.#text = text;
    this.#digest = digestOf(text);
  }

  /** For the wire only. */
  reveal(): string {
    return this.#text;
  }

  matches(offered: string): boolean {
    return timingSafeEqual(this.#digest, digestOf(offered));
  }

  toJSON(): string {
    return "[a join token]";
  }

  toString(): string {
    return "[a join token]";
  }
}

/** 256 random bits in base64url. */
export function newToken(): string {
  return randomBytes(32).toString("base64url");
}

/** @throws IsoergError USAGE where the file holds no usable token. */
export function readToken(file: string): Token {
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (cause) {
    throw new IsoergError("USAGE", `the token file ${file} can't be read (${(cause as NodeJS.ErrnoException).code})`, { cause });
  }
  const problem =
    text.length < MIN_LENGTH
      ? `is shorter than ${MIN_LENGTH} characters`
      : text.length > MAX_LENGTH || !/^[\x21-\x7e]+$/.test(text)
        ? "is not one line of printable characters"
        : undefined;
  if (problem !== undefined)
    throw new IsoergError("USAGE", `the token in ${file} ${problem}`, { hint: "isoerg certs token FILE makes one" });
  return new Token(text);
}

/** A command line as it may be written down: what stands after `--token...` is left out. */
export function withoutSecrets(words: readonly string[]): string[] {
  return words.map((word, i) => {
    if (/^--token[a-z-]*=/.test(word)) return word.replace(/=.*/s, "=[redacted]");
    return /^--token[a-z-]*$/.test(words[i - 1] ?? "") ? "[redacted]" : word;
  });
}

function digestOf(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
