/** Whether a configuration is guarded: where it says so, and else every objective that reads more than clean samples. */
import type { Config } from "../../config/schema.js";
import { createObjective } from "../../objective/objective.js";

export function isGuarded({ guard, objective }: Pick<Config, "guard" | "objective">): boolean {
  if (guard.mode !== "auto") return guard.mode === "on";
  const { views } = createObjective(objective);
  return views.has("generated") || views.has("adversarial");
}
