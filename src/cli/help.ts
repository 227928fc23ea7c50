/**
 * How help speaks of choices and defaults: as a person types them on the command line. commander alone shows what the program holds,
 * as JSON. A default that is not typed so (an object, a figure with a reason) has words of its own: `option.default(value, words)`.
 */
import type { Argument, Help, Option } from "commander";

export const spokenHelp: Partial<Help> = { optionDescription: describe, argumentDescription: describe };

function describe({ description, argChoices, defaultValue, defaultValueDescription }: Option | Argument): string {
  const usual = defaultValueDescription ?? asTyped(defaultValue);
  const facts = [...(argChoices ? [`choices: ${argChoices.join(", ")}`] : []), ...(usual === null ? [] : [`default: ${usual}`])];
  return facts.length === 0 ? description : `${description} (${facts.join("; ")})`;
}

/** null for what nobody types: a switch that is not set, an empty list. */
function asTyped(value: unknown): string | null {
  if (value === undefined || value === null || typeof value === "boolean") return null;
  if (Array.isArray(value)) return value.length === 0 ? null : value.join(",");
  return String(value);
}
