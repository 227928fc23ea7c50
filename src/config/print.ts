/**
 * A configuration as YAML: for a run's config.yaml, and for `--print-config` with the place each value came from. The text
 * is itself a valid experiment: reading it gives the same configuration.
 */
import { isDeepStrictEqual } from "node:util";
import { stringify } from "yaml";
import { describeOrigin, isTree, type Origin, pathKey } from "./layers.js";
import type { LoadedConfig } from "./load.js";
import { type Config, configSchema } from "./schema.js";

/** All settings, resolved, one a line. */
export function configToYaml(config: Config): string {
  return lines(config, [], undefined)
    .map(([text]) => `${text}\n`)
    .join("");
}

/** The same with `# where it came from` after each value. */
export function printConfig({ config, origins }: Pick<LoadedConfig, "config" | "origins">): string {
  const rows = lines(config, [], origins);
  const width = Math.min(72, Math.max(...rows.map(([text]) => text.length)));
  return rows.map(([text, origin]) => (origin === undefined ? `${text}\n` : `${text.padEnd(width)}  # ${origin}\n`)).join("");
}

type Row = readonly [text: string, origin: string | undefined];

function lines(node: object, path: readonly string[], origins: ReadonlyMap<string, Origin> | undefined): readonly Row[] {
  return Object.entries(node).flatMap(([key, value]: [string, unknown]): readonly Row[] => {
    const indent = "  ".repeat(path.length);
    const child = [...path, key];
    const plain = plainWeight(path, key, value);
    if (plain !== undefined) {
      const origin = origins?.get(pathKey([...child, "value"]));
      return [[`${indent}${key}: ${plain}`, origin === undefined ? undefined : describeOrigin(origin)]];
    }
    if (isTree(value)) return [[`${indent}${key}:`, undefined], ...lines(value, child, origins)];
    const origin = origins?.get(pathKey(child));
    return [[`${indent}${key}: ${flow(value)}`, origin === undefined ? undefined : describeOrigin(origin)]];
  });
}

/** A term's weight without a schedule or other settings of its own is one number, as people write it; undefined for all else. */
function plainWeight(path: readonly string[], key: string, value: unknown): number | undefined {
  if (path.length !== 1 || path[0] !== "objective" || !isTree(value) || typeof value.value !== "number") return undefined;
  const short = configSchema.shape.objective.parse({ [key]: value.value }) as Readonly<Record<string, unknown>>;
  return isDeepStrictEqual(short[key], value) ? value.value : undefined;
}

/** One value on one line. */
function flow(value: unknown): string {
  return stringify(value, { collectionStyle: "flow", lineWidth: 0, flowCollectionPadding: false }).trimEnd();
}
