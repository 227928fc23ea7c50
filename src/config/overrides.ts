/**
 * Settings that come from outside the file: `key=value` on the command line and ISOERG_* in the environment.
 *
 * Values are read as YAML: 0.1, true, [64, 64], {kind: silu}; a fraction stays the text "8/255" for the schema to read. A
 * variable is the path in capitals with underscores: ISOERG_SEED, ISOERG_DATA_BATCH_SIZE, ISOERG_OBJECTIVE_CLEAN_CE.
 */
import { parse } from "yaml";
import type { z } from "zod";
import { IsoergError } from "../util/error.js";
import { nearest } from "../util/nearest.js";
import { type Layer, layerOf, type Origin } from "./layers.js";
import { namesAt } from "./shape.js";

type Setting = Parameters<typeof layerOf>[0][number];

/** @throws IsoergError USAGE for a word without `=`, CONFIG for a value that is not YAML. */
export function overrideLayer(overrides: readonly string[]): Layer {
  return layerOf(overrides.map(parseOverride));
}

function parseOverride(text: string): Setting {
  const equals = text.indexOf("=");
  const path = text.slice(0, Math.max(0, equals)).trim().split(".");
  if (equals < 0 || path.some((key) => key === "")) {
    throw new IsoergError("USAGE", `'${text}' is not of the form key=value`, { hint: "for example optimizer.lr=0.01" });
  }
  const at: Origin = { kind: "command line", text };
  return { path, value: parseValue(text.slice(equals + 1), text), at };
}

function parseValue(text: string, whole: string): unknown {
  try {
    return parse(text) as unknown;
  } catch (cause) {
    throw new IsoergError("CONFIG", `the value of '${whole}' is not YAML`, { hint: "quote text that has : or # in it", cause });
  }
}

const PREFIX = "ISOERG_";

/**
 * The environment's settings. A variable that begins like a setting and leads nowhere is an error; one that has nothing to
 * do with the settings (ISOERG_APT and the like) is left alone.
 * @throws IsoergError CONFIG
 */
export function environmentLayer(schema: z.core.$ZodType, env: Readonly<Record<string, string | undefined>>): Layer {
  const settings: Setting[] = [];
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(PREFIX) || text === undefined) continue;
    const words = variable.slice(PREFIX.length).toLowerCase().split(/_+/);
    const path = resolve(schema, words, []);
    if (path !== undefined) {
      settings.push({ path, value: parseValue(text, `${variable}=${text}`), at: { kind: "environment", variable } });
    } else {
      refuseMistake(schema, variable, words);
    }
  }
  return layerOf(settings);
}

/** The path that these words spell, a key being spelled by one word or by several; undefined when there is none. */
function resolve(schema: z.core.$ZodType, words: readonly string[], path: readonly string[]): readonly string[] | undefined {
  if (words.length === 0) return path.length === 0 ? undefined : path;
  for (const name of namesAt(schema, undefined, path)) {
    for (let count = 1; count <= words.length; count++) {
      if (words.slice(0, count).join("") !== fold(name)) continue;
      const found = resolve(schema, words.slice(count), [...path, name]);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function refuseMistake(schema: z.core.$ZodType, variable: string, words: readonly string[]): void {
  const top = namesAt(schema, undefined, []);
  const section = words[0] === undefined ? undefined : nearest(words[0], top);
  if (section === undefined) return;
  const all = namesBelow(schema, [section]).map((path) => PREFIX + path.map(spell).join("_"));
  const guess = nearest(variable, all);
  throw new IsoergError("CONFIG", `environment ${variable}: no such setting${guess === undefined ? "" : `; did you mean '${guess}'?`}`, {
    hint: `variables of ${section}: ${all.join(", ")}`,
  });
}

function namesBelow(schema: z.core.$ZodType, path: readonly string[]): readonly (readonly string[])[] {
  const names = namesAt(schema, undefined, path);
  return names.length === 0 ? [path] : names.flatMap((name) => namesBelow(schema, [...path, name]));
}

function fold(name: string): string {
  return name.toLowerCase().replaceAll("-", "");
}

/** batchSize -> BATCH_SIZE, clean-ce -> CLEAN_CE */
function spell(name: string): string {
  return name
    .replaceAll(/([a-z])([A-Z])/g, "$1_$2")
    .replaceAll("-", "_")
    .toUpperCase();
}
