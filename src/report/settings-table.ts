/** Any tree of values as a table of dotted paths, for settings and environments. */
import { formatEps } from "../evaluate/format.js";
import { type Html, html } from "./html.js";

export function settingsTable(tree: unknown, label: string): Html {
  const rows = leavesOf(tree, "");
  return html`<div class="scroll" role="group" tabindex="0" aria-label="${label}"><table class="settings"><caption class="hidden">${label}</caption><tbody>${rows.map(
    ([path, value]) => html`<tr><th scope="row">${path}</th><td>${value}</td></tr>
`,
  )}</tbody></table></div>`;
}

function leavesOf(value: unknown, path: string): [string, string][] {
  if (typeof value !== "object" || value === null) return [[path, leafText(value, path)]];
  if (Array.isArray(value)) {
    const flat = value.every((item) => typeof item !== "object" || item === null);
    return [[path, flat ? value.join(", ") : value.map((item) => JSON.stringify(item)).join(", ")]];
  }
  return Object.entries(value).flatMap(([key, child]) => leavesOf(child, path === "" ? key : `${path}.${key}`));
}

/** Budgets are written as people write them, beside the number that was used. */
function leafText(value: unknown, path: string): string {
  const isBudget = typeof value === "number" && /(^|\.)attack\.(eps|stepSize)$/.test(path);
  return isBudget && formatEps(value).includes("/") ? `${Number(value.toPrecision(6))} (${formatEps(value)})` : String(value);
}
