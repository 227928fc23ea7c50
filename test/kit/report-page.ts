/** What any page of a report must hold: it stands alone, its pictures are full, its figures are those of the files it cites. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { valueAt } from "../../src/report/cite.js";
import { type DomDocument, openPage } from "./dom.js";

export function open(page: string): DomDocument {
  return openPage(page).document;
}

/** No script, nothing that loads, no link that leaves. */
export function expectAlone(page: string): void {
  expect(page).not.toMatch(/<(script|link|iframe|object|embed|audio|video|base)\b/i);
  expect(page).not.toMatch(/\b(src|href|srcset|action|data|poster|xlink:href)="(?!data:)/i);
  expect(page).not.toMatch(/url\(|@import|https?:\/\//i);
  expect(page).toContain(`http-equiv="Content-Security-Policy" content="default-src 'none'`);
  // A page that gave itself more rights than it needs would be as bad as one without a policy.
  expect(/content="(default-src[^"]*)"/.exec(page)?.[1]).toBe("default-src 'none'; img-src data:; style-src 'unsafe-inline'");
}

/** All coordinates of a path with absolute M, L, H, V and Z commands. */
export function pointsOf(path: string): { x: number[]; y: number[] } {
  const x: number[] = [];
  const y: number[] = [];
  for (const [, command, body] of path.matchAll(/([MLHVZ])([^MLHVZ]*)/g)) {
    const numbers = (body ?? "").trim().split(/[ ,]+/).filter(Boolean).map(Number);
    if (command === "H") x.push(...numbers);
    else if (command === "V") y.push(...numbers);
    else if (command !== "Z") {
      x.push(numbers[0] as number);
      y.push(numbers[1] as number);
    }
  }
  return { x, y };
}

/** Each chart has marks that take up room, all within its plot area, a title, and a description. */
export function expectFullPictures(document: DomDocument, numCharts: number): void {
  const charts = [...document.querySelectorAll("svg")];
  expect(charts).toHaveLength(numCharts);
  for (const chart of charts) {
    const name = chart.getAttribute("aria-label") ?? "";
    expect(name.length).toBeGreaterThan(10);
    expect(chart.querySelector("title")?.textContent).toBe(name);
    expect([...chart.querySelectorAll("text.label")].length).toBeGreaterThanOrEqual(2);
    const [left, top, right, bottom] = (chart.getAttribute("data-plot") ?? "").split(" ").map(Number) as [number, number, number, number];
    expect(right > left && bottom > top).toBe(true);
    const xs: number[] = [];
    const ys: number[] = [];
    for (const path of chart.querySelectorAll("path")) {
      const { x, y } = pointsOf(path.getAttribute("d") ?? "");
      expect(x.length + y.length, name).toBeGreaterThan(1);
      xs.push(...x);
      ys.push(...y);
    }
    for (const dot of chart.querySelectorAll("circle")) {
      xs.push(Number(dot.getAttribute("cx")));
      ys.push(Number(dot.getAttribute("cy")));
    }
    expect(new Set(xs).size + new Set(ys).size, name).toBeGreaterThan(2);
    expect(
      xs.every((x) => x >= left - 0.1 && x <= right + 0.1),
      name,
    ).toBe(true);
    expect(
      ys.every((y) => y >= top - 0.1 && y <= bottom + 0.1),
      name,
    ).toBe(true);
  }
  expect(/.{0,60}(?<!loss = )(NaN|Infinity|undefined|\[object).{0,60}/.exec(document.body.textContent ?? "")?.[0]).toBeUndefined();
}

/** Every cited figure is in its file what the page says it is. @param folders by the name that the page calls a run by. */
export function expectCited(document: DomDocument, folders: Readonly<Record<string, string>>): number {
  const cited = [...document.querySelectorAll("[data-source]")];
  for (const element of cited) {
    const source = element.getAttribute("data-source") ?? "";
    const folder = folders[element.getAttribute("data-run") ?? Object.keys(folders)[0] ?? ""];
    const [file = "", pointer = ""] = source.split("#");
    expect(["evaluation.json", "analysis.json"], source).toContain(file);
    const found = valueAt(fileOf(join(folder as string, file)), pointer);
    expect(found, source).toBeDefined();
    if (element.tagName !== "DATA") continue;
    expect(Number(element.getAttribute("value")), source).toBe(found);
    expectSaid(element.textContent ?? "", found as number, source);
  }
  return cited.filter(({ tagName }) => tagName === "DATA").length;
}

/** The text is the figure, rounded: as it is, out of 100, with or without its sign. */
function expectSaid(text: string, value: number, source: string): void {
  const said = /[+-]?[\d,]+(?:\.(\d+))?(?:e[+-]?\d+)?/.exec(text);
  expect(said, `${source}: ${text}`).not.toBeNull();
  const shown = Math.abs(Number((said?.[0] ?? "").replaceAll(",", "")));
  const decimals = said?.[1]?.length ?? 0;
  const half = (0.5 + 1e-6) * 10 ** -decimals;
  const size = Math.abs(value);
  const fits = [size, 100 * size].some((exact) => Math.abs(exact - shown) <= Math.max(half, /e/.test(text) ? 0.06 * exact : 0));
  expect(fits, `${source}: ${value} is shown as ${text}`).toBe(true);
}

const files = new Map<string, unknown>();
function fileOf(path: string): unknown {
  if (!files.has(path)) files.set(path, JSON.parse(readFileSync(path, "utf8")));
  return files.get(path);
}
