/**
 * An experiment from its file: defaults < file < ISOERG_* of the environment < key=value of the command line. Every value
 * keeps where it came from, and everything that is not understood is an error that says where it stands.
 *
 * A file may begin with `extends: other` (a ready-made name, or a path relative to it) and then holds only what differs.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";
import { IsoergError } from "../util/error.js";
import { didYouMean } from "../util/nearest.js";
import { packageRoot } from "../util/package.js";
import { complain } from "./complaint.js";
import { describeOrigin, isTree, type Layer, type Origin, overlay, pathKey } from "./layers.js";
import { environmentLayer, overrideLayer } from "./overrides.js";
import { parseYamlLayer } from "./positions.js";
import { type Config, configSchema } from "./schema.js";

export interface LoadOptions {
  /** A ready-made experiment's name, or the path of a YAML file. */
  readonly source: string;
  /** `key=value` words of the command line; later ones win. */
  readonly overrides?: readonly string[];
  /** Only ISOERG_* is read. Pass `{}` to read a finished run's own configuration unchanged. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface LoadedConfig {
  readonly config: Config;
  /** Where each setting came from, by dotted path; a list is one setting. */
  readonly origins: ReadonlyMap<string, Origin>;
  /** The file, absolute. */
  readonly path: string;
}

const EXPERIMENTS = join(packageRoot, "src", "config", "experiments");

/** Names of the ready-made experiments. */
export function experimentNames(): readonly string[] {
  return readdirSync(EXPERIMENTS)
    .filter((file) => file.endsWith(".yaml"))
    .map((file) => file.slice(0, -".yaml".length))
    .sort();
}

/** @throws IsoergError CONFIG (file:line:column in the message), or USAGE for a word that is not key=value. */
export function loadConfig({ source, overrides = [], env = process.env }: LoadOptions): LoadedConfig {
  const path = findExperiment(source);
  const file = readFileLayer(path, []);
  const settings = [environmentLayer(configSchema, env), overrideLayer(overrides)].reduce(overlay, file);
  const result = configSchema.safeParse(settings.tree);
  if (!result.success) throw complain(result.error.issues, settings, configSchema, displayPath(path));
  return { config: result.data, origins: originsOf(result.data, settings), path };
}

/**
 * The file of a name or path. A word with a slash or the ending .yaml is a path.
 * @throws IsoergError CONFIG when there is none.
 */
export function findExperiment(source: string, relativeTo: string = process.cwd()): string {
  const asPath = resolve(relativeTo, source);
  if (/[/\\]|\.ya?ml$/.test(source)) {
    if (existsSync(asPath)) return asPath;
    throw new IsoergError("CONFIG", `there is no file ${displayPath(asPath)}`, {
      hint: `ready-made experiments: ${experimentNames().join(", ")}`,
    });
  }
  const names = experimentNames();
  if (names.includes(source)) return join(EXPERIMENTS, `${source}.yaml`);
  throw new IsoergError("CONFIG", `there is no experiment '${source}'${didYouMean(source, names)}`, {
    hint: `ready-made experiments: ${names.join(", ")}; a file of your own is given as ./${source}.yaml`,
  });
}

function readFileLayer(path: string, readers: readonly string[]): Layer {
  if (readers.includes(path)) {
    throw new IsoergError("CONFIG", `${displayPath(path)} extends itself`, { hint: [...readers, path].map(displayPath).join(" -> ") });
  }
  const layer = parseYamlLayer(readText(path), displayPath(path));
  if (!isTree(layer.tree) || !("extends" in layer.tree)) return layer;
  const { extends: base, ...tree } = layer.tree;
  const at = describeOrigin(layer.values.get("extends") ?? { kind: "default" });
  if (typeof base !== "string") throw new IsoergError("CONFIG", `${at}: 'extends' takes one experiment's name or path`);
  let below: string;
  try {
    below = findExperiment(base, dirname(path));
  } catch (cause) {
    if (!(cause instanceof IsoergError)) throw cause;
    throw new IsoergError("CONFIG", `${at}: ${cause.message}`, { ...(cause.hint === undefined ? {} : { hint: cause.hint }), cause });
  }
  return overlay(readFileLayer(below, [...readers, path]), { ...layer, tree });
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new IsoergError("CONFIG", `${displayPath(path)} can't be read`, { hint: "an experiment is a YAML file", cause });
  }
}

/** The origin of every setting: its own, else that of the nearest value written whole above it (`contrast: 1`). */
function originsOf(config: Config, settings: Layer): ReadonlyMap<string, Origin> {
  const origins = new Map<string, Origin>();
  const visit = (value: unknown, written: unknown, path: readonly string[], inherited: Origin): void => {
    const own = settings.values.get(pathKey(path));
    const origin = path.length > 0 && own !== undefined && !isTree(written) ? own : inherited;
    if (!isTree(value)) {
      origins.set(pathKey(path), origin);
      return;
    }
    for (const [key, child] of Object.entries(value)) visit(child, isTree(written) ? written[key] : undefined, [...path, key], origin);
  };
  visit(config, settings.tree, [], { kind: "default" });
  return origins;
}

/** Relative to the current folder when it lies below it. */
function displayPath(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith("..") || isAbsolute(short) ? path : short;
}
