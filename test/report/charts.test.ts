/** Charts: what they draw lies inside the picture, and nothing empty is drawn. */

import { describe, expect, it } from "vitest";
import { ticks } from "../../src/report/charts/frame.js";
import { histogramChart } from "../../src/report/charts/histogram-chart.js";
import { lineChart, thin } from "../../src/report/charts/line-chart.js";
import { html } from "../../src/report/html.js";
import * as fc from "../kit/property.js";
import { pointsOf } from "../kit/report-page.js";

function expectInside(svg: string): void {
  const paths = [...svg.matchAll(/ d="([^"]*)"/g)].map((match) => match[1] as string);
  expect(paths.length).toBeGreaterThan(0);
  for (const path of paths) {
    const { x, y } = pointsOf(path);
    expect(x.length).toBeGreaterThan(0);
    for (const value of x) expect(value >= 51.9 && value <= 426.1).toBe(true);
    for (const value of y) expect(value >= 0 && value <= 228.1).toBe(true);
  }
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
}

const value = fc.oneof(fc.double({ min: -1e4, max: 1e4, noNaN: true }), fc.constantFrom(0, 1e-5, 3));

describe("lineChart", () => {
  it("draws any series inside its picture", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 9, arbitrary: value }, fc.constant(Number.NaN)), { minLength: 2, maxLength: 40 }),
        fc.boolean(),
        (ys, includeZero) => {
          const points = ys.map((y, x): [number, number] => [x, y]);
          const options = {
            description: "d",
            xLabel: "x",
            yLabel: "y",
            includeZero,
            series: [{ name: "a", tone: "clean" as const, points }],
          };
          const chart = lineChart(options);
          if (ys.filter(Number.isFinite).length < 2) expect(chart).toBeUndefined();
          else expectInside(String(chart));
        },
      ),
    );
  });

  it("leaves a gap where there is no value, and a series out that has none", () => {
    const chart = String(
      lineChart({
        description: "d",
        xLabel: "x",
        yLabel: "y",
        series: [
          {
            name: "a",
            tone: "clean",
            points: [
              [0, 1],
              [1, Number.NaN],
              [2, 3],
            ],
          },
          {
            name: "b",
            tone: "generated",
            points: [
              [0, Number.NaN],
              [1, Number.NaN],
            ],
          },
        ],
      }),
    );
    expect(chart.match(/ d="M[^"]*M/)).not.toBeNull();
    expect(chart).not.toContain("generated");
  });

  it("thins by means and keeps the ends' order", () => {
    const points = Array.from({ length: 1000 }, (_, x): [number, number] => [x, x % 2 === 0 ? x : Number.NaN]);
    const thinned = thin(points, 50);
    expect(thinned).toHaveLength(50);
    expect(thinned[0]).toEqual([9, 9]);
    expect(thinned.every(([x], i) => i === 0 || x > (thinned[i - 1] as [number, number])[0])).toBe(true);
    expect(thin([[1, 2]], 50)).toEqual([[1, 2]]);
  });
});

describe("histogramChart", () => {
  it("draws any distributions inside its picture", () => {
    const values = fc.array(value, { maxLength: 60 });
    fc.assert(
      fc.property(values, values, (a, b) => {
        const drawn = histogramChart({
          description: "d",
          xLabel: "E",
          distributions: [
            { name: "clean", tone: "clean", values: a },
            { name: "generated", tone: "generated", values: b },
          ],
        });
        if (a.length + b.length === 0) expect(drawn).toBeUndefined();
        else expectInside(String(drawn?.chart));
      }),
    );
  });

  it("says how many samples lie outside", () => {
    const values = [...Array.from({ length: 999 }, (_, i) => i / 999), 1e6];
    expect(histogramChart({ description: "d", xLabel: "E", distributions: [{ name: "clean", tone: "clean", values }] })?.numOutside).toBe(
      1,
    );
  });
});

describe("ticks", () => {
  it("are round, ascending, inside, and labelled apart", () => {
    fc.assert(
      fc.property(value, fc.double({ min: 1e-4, max: 1e6, noNaN: true }), (from, span) => {
        const marks = ticks(from, from + span, 5);
        expect(marks.length).toBeGreaterThanOrEqual(2);
        expect(marks.length).toBeLessThanOrEqual(12);
        for (const mark of marks) expect(mark.value >= from - span * 1e-6 && mark.value <= from + span * (1 + 1e-6)).toBe(true);
      }),
    );
    expect(ticks(0, 1, 5).map(({ text }) => text)).toEqual(["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
    expect(ticks(-300, 0, 5).map(({ text }) => text)).toEqual(["-300", "-200", "-100", "0"]);
    expect(ticks(0, 40_000, 4).map(({ text }) => text)).toEqual(["0", "10k", "20k", "30k", "40k"]);
  });
});

it("html escapes what is put in, but not markup", () => {
  expect(String(html`<b>${"<script>&\u0007"}</b>${[html`<i>${1}</i>`, html`"`]}`)).toBe('<b>&lt;script&gt;&amp;\ufffd</b><i>1</i>"');
});
