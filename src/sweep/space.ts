/**
 * The space that a sweep searches: a domain for each setting, and the way from a point of the unit cube to settings and back.
 *
 * Searchers work in the unit cube [0,1)^d alone and know nothing of settings; a choice of n values is cut into n equal parts.
 */
import { z } from "zod";
import { invariant } from "../util/error.js";

export type Setting = number | string | boolean;

const setting = z.union([z.number(), z.string(), z.boolean()]);
const ascending = { check: ([low, high]: readonly [number, number]) => low < high, message: "the first must be below the second" };
const range = z.tuple([z.number(), z.number()]).refine(ascending.check, ascending.message);
const wholeRange = z.tuple([z.int(), z.int()]).refine(ascending.check, ascending.message);

/** In YAML: `[a, b]`, or one of `{choice: [a, b]}`, `{uniform: [0, 1]}`, `{log-uniform: [1e-4, 1e-1]}`, `{int: [1, 8]}`. */
export const domainSchema = z.union([
  z.array(setting).min(1),
  z.strictObject({ choice: z.array(setting).min(1) }),
  z.strictObject({ uniform: range }),
  z.strictObject({ "log-uniform": range.refine(([low]) => low > 0, "both must be above 0") }),
  z.strictObject({ int: wholeRange }),
]);

export type Domain =
  | { readonly kind: "choice"; readonly values: readonly Setting[] }
  | { readonly kind: "uniform" | "log-uniform" | "int"; readonly low: number; readonly high: number };

/** Dotted paths of settings, in the order of the file: the axes of the cube. */
export type Space = readonly { readonly path: string; readonly domain: Domain }[];

/** A value for each setting, by dotted path. */
export type Point = Readonly<Record<string, Setting>>;

export function createSpace(written: Readonly<Record<string, z.infer<typeof domainSchema>>>): Space {
  return Object.entries(written).map(([path, domain]) => ({ path, domain: readDomain(domain) }));
}

function readDomain(written: z.infer<typeof domainSchema>): Domain {
  if (Array.isArray(written)) return { kind: "choice", values: written };
  if ("choice" in written) return { kind: "choice", values: written.choice };
  const [kind, [low, high]] = Object.entries(written)[0] as ["uniform" | "log-uniform" | "int", [number, number]];
  return { kind, low, high };
}

/** The settings at a point u [d] of the unit cube. */
export function pointAt(space: Space, u: readonly number[]): Point {
  invariant(u.length === space.length, `${u.length} coordinates for ${space.length} settings`);
  return Object.fromEntries(space.map(({ path, domain }, axis) => [path, valueAt(domain, u[axis] as number)]));
}

/** Where a point lies in the unit cube [d]; `pointAt(unitOf(p))` is p. */
export function unitOf(space: Space, point: Point): number[] {
  return space.map(({ path, domain }) => {
    const value = point[path];
    invariant(value !== undefined, `a point without ${path}`);
    return coordinateOf(domain, value);
  });
}

function valueAt(domain: Domain, u: number): Setting {
  if (domain.kind === "choice") return domain.values[Math.min(domain.values.length - 1, Math.floor(u * domain.values.length))] as Setting;
  const { kind, low, high } = domain;
  switch (kind) {
    case "uniform":
      return low + u * (high - low);
    case "log-uniform":
      return Math.min(high, low * (high / low) ** u);
    case "int":
      return Math.min(high, low + Math.floor(u * (high - low + 1)));
    default:
      return kind satisfies never;
  }
}

function coordinateOf(domain: Domain, value: Setting): number {
  if (domain.kind === "choice") return (domain.values.indexOf(value) + 0.5) / domain.values.length;
  const { low, high } = domain;
  const number = Number(value);
  if (domain.kind === "int") return (number - low + 0.5) / (high - low + 1);
  if (domain.kind === "uniform") return (number - low) / (high - low);
  return Math.log(number / low) / Math.log(high / low);
}

/** All values that a grid takes from a domain: those of a choice or of whole numbers, else `points` evenly spaced, ends included. */
export function gridOf(domain: Domain, points: number): readonly Setting[] {
  if (domain.kind === "choice") return domain.values;
  const { low, high } = domain;
  if (domain.kind === "int") {
    const count = Math.min(points, high - low + 1);
    return [...new Set(Array.from({ length: count }, (_, i) => (count === 1 ? low : Math.round(low + (i * (high - low)) / (count - 1)))))];
  }
  return Array.from({ length: points }, (_, i) => {
    const share = points === 1 ? 0.5 : i / (points - 1);
    return domain.kind === "uniform" ? low + share * (high - low) : low * (high / low) ** share;
  });
}
