/** A configuration as a reader wants it: without the objective's many terms that have no weight, and without schedules that do nothing. */

import { weight } from "../config/schema/weight.js";
import type { Config } from "../config/schema.js";

/** What the page says beside it. */
export const LEFT_OUT =
  "Terms of the objective without a weight are left out, and what is not set of a term's schedule; config.yaml has them all.";

const IDLE: Readonly<Record<string, unknown>> = weight.parse(0);

export function readableConfig(config: Config): unknown {
  const objective = Object.entries(config.objective).flatMap(([name, setting]): [string, unknown][] => {
    if (typeof setting !== "object" || setting === null || !("value" in setting)) return [[name, setting]];
    if (setting.value === 0) return [];
    const told = Object.entries(setting).filter(([key, value]) => key === "value" || !(key in IDLE) || IDLE[key] !== value);
    return [[name, told.length === 1 ? setting.value : Object.fromEntries(told)]];
  });
  return { ...config, objective: Object.fromEntries(objective) };
}
