import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { objectiveSchema } from "../../src/config/schema/objective.js";
import { createObjective, TERMS, type TermName, weightAt } from "../../src/objective/objective.js";
import type { Term, TermContext } from "../../src/objective/term.js";
import { createView, type View, type ViewName, type ViewRole, type Views } from "../../src/objective/view.js";

const NUM_CLASSES = 4;
const SIZES = { clean: 5, natural: 5, adversarial: 5, generated: 3 } as const satisfies Readonly<Record<ViewName, number>>;
const NAMES = Object.keys(SIZES) as ViewName[];
const LABELS = Int32Array.from([0, 3, 1, 2, 2]);

type Logits = Readonly<Record<ViewName, Float64Array>>;

const logitsArbitrary = fc.record({
  clean: logitsOf("clean"),
  natural: logitsOf("natural"),
  adversarial: logitsOf("adversarial"),
  generated: logitsOf("generated"),
});

function logitsOf(name: ViewName): fc.Arbitrary<Float64Array> {
  const size = SIZES[name] * NUM_CLASSES;
  return fc.array(fc.double({ min: -4, max: 4, noNaN: true }), { minLength: size, maxLength: size }).map((a) => Float64Array.from(a));
}

function viewsOf(logits: Logits): Record<ViewRole, View> {
  const views = Object.fromEntries(
    NAMES.map((name) => [name, createView(logits[name], { numClasses: NUM_CLASSES, total: SIZES[name] })]),
  ) as Record<ViewName, View>;
  return { ...views, data: views.clean };
}

const SETTINGS = objectiveSchema.parse({ "label-smoothing": 0.1, "align-beta": 0.7 });

/** With the sums over one worker that has it all. */
function contextOf(name: TermName, views: Views): TermContext {
  return { labels: LABELS, settings: SETTINGS, sums: Float64Array.from((TERMS[name] as Term).shares?.(views) ?? []) };
}

function termValue(name: TermName, logits: Logits): number {
  const views = viewsOf(logits);
  return TERMS[name].apply(views, contextOf(name, views), 1);
}

describe.each(Object.keys(TERMS) as TermName[])("term %s", (name) => {
  it("has the gradient that finite differences show, in float64", () => {
    fc.assert(
      fc.property(logitsArbitrary, (logits) => {
        const views = viewsOf(logits);
        TERMS[name].apply(views, contextOf(name, views), 1);
        const h = 1e-5;
        for (const view of Object.keys(SIZES) as ViewName[]) {
          for (let i = 0; i < logits[view].length; i++) {
            const at = (delta: number): number => {
              const moved = Float64Array.from(logits[view]);
              (moved[i] as number) += delta;
              return termValue(name, { ...logits, [view]: moved });
            };
            const numeric = (at(h) - at(-h)) / (2 * h);
            expect(Math.abs((views[view].gradient[i] as number) - numeric)).toBeLessThan(2e-6 * (1 + Math.abs(numeric)));
          }
        }
      }),
      { numRuns: 15 },
    );
  });

  it("reads no view that it does not declare", () => {
    const logits = fc.sample(logitsArbitrary, 1)[0] as Logits;
    const all = viewsOf(logits);
    const declared = Object.fromEntries((TERMS[name] as Term).needs.map((view) => [view, all[view]]));
    expect(() => TERMS[name].apply(declared, contextOf(name, all), 1)).not.toThrow();
  });

  it("gives shares that add up to the same value and gradient however the batch is cut", () => {
    fc.assert(
      fc.property(logitsArbitrary, fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 3 }), (logits, cut, chainCut) => {
        const whole = viewsOf(logits);
        const context = contextOf(name, whole);
        const value = TERMS[name].apply(whole, context, 1);
        let sum = 0;
        const gradients = Object.fromEntries(NAMES.map((view) => [view, []])) as unknown as Record<ViewName, number[]>;
        for (const part of [0, 1]) {
          const range = (view: ViewName): [number, number] => {
            const at = view === "generated" ? chainCut : cut;
            return part === 0 ? [0, at] : [at, SIZES[view]];
          };
          const cutViews = Object.fromEntries(
            NAMES.map((view) => {
              const [from, to] = range(view);
              const rows = logits[view].subarray(from * NUM_CLASSES, to * NUM_CLASSES);
              return [view, createView(rows, { numClasses: NUM_CLASSES, total: SIZES[view] })];
            }),
          ) as Record<ViewName, View>;
          const views = { ...cutViews, data: cutViews.clean };
          sum += TERMS[name].apply(views, { ...context, labels: LABELS.subarray(...range("clean")) }, 1);
          for (const view of Object.keys(SIZES) as ViewName[]) gradients[view].push(...views[view].gradient);
        }
        expect(sum).toBeCloseTo(value, 10);
        for (const view of Object.keys(SIZES) as ViewName[]) {
          whole[view].gradient.forEach((g, i) => {
            expect(gradients[view][i]).toBeCloseTo(g, 10);
          });
        }
      }),
      { numRuns: 30 },
    );
  });
});

/** One step of gradient descent on a term, on logits as if they were free: how the mean energies of the views move. */
function energyChange(name: TermName, logits: Logits): Record<ViewName, number> {
  const views = viewsOf(logits);
  TERMS[name].apply(views, contextOf(name, views), 1);
  const change = (view: ViewName): number => {
    const before = views[view];
    const moved = before.logits.map((f, i) => f - 0.01 * (before.gradient[i] as number));
    const after = createView(moved, { numClasses: NUM_CLASSES, total: before.total });
    return after.energies.reduce((a, b) => a + b, 0) - before.energies.reduce((a, b) => a + b, 0);
  };
  return { clean: change("clean"), natural: change("natural"), adversarial: change("adversarial"), generated: change("generated") };
}

/** Logits whose energies are about the given numbers. */
function logitsWithEnergies(energies: Readonly<Partial<Record<ViewName, number>>>): Logits {
  const make = (view: ViewName): Float64Array =>
    Float64Array.from({ length: SIZES[view] * NUM_CLASSES }, (_, i) => -(energies[view] ?? 0) - Math.log(NUM_CLASSES) + 0.1 * Math.sin(i));
  return Object.fromEntries(NAMES.map((view) => [view, make(view)])) as unknown as Logits;
}

describe("one step of descent moves energies the documented way", () => {
  const logits = logitsWithEnergies({ clean: -1, adversarial: -3, generated: -5 });

  it("contrast lowers clean energy and raises generated energy", () => {
    const change = energyChange("contrast", logits);
    expect(change.clean).toBeLessThan(0);
    expect(change.generated).toBeGreaterThan(0);
    expect(change.adversarial).toBe(0);
  });

  it("align-adversarial raises the lower and lowers the higher, whichever that is", () => {
    const below = energyChange("align-adversarial", logits);
    expect(below.adversarial).toBeGreaterThan(0);
    expect(below.clean).toBeLessThan(0);
    const above = energyChange("align-adversarial", logitsWithEnergies({ clean: -3, adversarial: -1, generated: 0 }));
    expect(above.adversarial).toBeLessThan(0);
    expect(above.clean).toBeGreaterThan(0);
  });

  it("align-generated brings the means together from either side", () => {
    const below = energyChange("align-generated", logits);
    expect(below.generated).toBeGreaterThan(0);
    expect(below.clean).toBeLessThan(0);
    const above = energyChange("align-generated", logitsWithEnergies({ clean: -3, adversarial: 0, generated: -1 }));
    expect(above.generated).toBeLessThan(0);
    expect(above.clean).toBeGreaterThan(0);
  });

  it("energy-l2 moves every energy towards zero", () => {
    const change = energyChange("energy-l2", logitsWithEnergies({ clean: -2, adversarial: 0, generated: 3 }));
    expect(change.clean).toBeGreaterThan(0);
    expect(change.generated).toBeLessThan(0);
  });

  it("cross-entropy raises the label's logit against the others", () => {
    const views = viewsOf(logits);
    TERMS["adversarial-ce"].apply(views, contextOf("adversarial-ce", views), 1);
    LABELS.forEach((label, i) => {
      for (let k = 0; k < NUM_CLASSES; k++) {
        const gradient = views.adversarial.gradient[i * NUM_CLASSES + k] as number;
        if (k === label) expect(gradient).toBeLessThan(0);
        else expect(gradient).toBeGreaterThan(0);
      }
    });
    expect(views.clean.gradient.every((g) => g === 0)).toBe(true);
  });
});

describe("objective", () => {
  const weights = objectiveSchema.parse({
    "clean-ce": 0.5,
    "adversarial-ce": 1,
    contrast: { value: 1.5, warmup: 0.1 },
    "align-adversarial": 1,
    "align-generated": { value: 0.5, warmup: 0.1 },
  });

  it("is the weighted sum of its terms, with weights that rise over their warm-up", () => {
    const logits = logitsWithEnergies({ clean: -1, adversarial: -3, generated: -5 });
    const figures = createObjective(weights).evaluate(viewsOf(logits), { labels: LABELS, progress: 0.05, sumOverWorkers: () => undefined });
    const expected =
      0.5 * (figures["clean-ce"] as number) +
      (figures["adversarial-ce"] as number) +
      0.75 * (figures.contrast as number) +
      (figures["align-adversarial"] as number) +
      0.25 * (figures["align-generated"] as number);
    expect(figures.loss).toBeCloseTo(expected, 12);
    expect(weightAt({ value: 2, warmup: 0 }, 0)).toBe(2);
    expect(weightAt({ value: 2, warmup: 0.5 }, 0.75)).toBe(2);
  });

  it("leaves out the terms whose views a step does not have", () => {
    const { clean, adversarial } = viewsOf(logitsWithEnergies({ clean: -1, adversarial: -3, generated: -5 }));
    const figures = createObjective(weights).evaluate(
      { clean, adversarial },
      { labels: LABELS, progress: 1, sumOverWorkers: () => undefined },
    );
    expect(figures).not.toHaveProperty("contrast");
    expect(figures).not.toHaveProperty(["energy/generated"]);
    expect(Number.isFinite(figures.loss)).toBe(true);
  });

  it.each([
    ["augmented", "clean"],
    ["natural", "natural"],
    ["adversarial", "adversarial"],
  ] as const)("takes p(x) to be of the %s samples", (on, view) => {
    const objective = createObjective(objectiveSchema.parse({ contrast: 1, "generative-on": on }));
    expect([...objective.views].sort()).toEqual([...new Set(["clean", view, "generated"])].sort());
    const all = viewsOf(logitsWithEnergies({ clean: -1, natural: -2, adversarial: -3, generated: -5 }));
    const views = Object.fromEntries([...objective.views].map((name) => [name, all[name]]));
    const figures = objective.evaluate(views, { labels: LABELS, progress: 1, sumOverWorkers: () => undefined });
    expect(figures.contrast).toBeCloseTo((figures[`energy/${view}`] as number) - (figures["energy/generated"] as number), 10);
    expect(all[view].gradient.some((g) => g !== 0)).toBe(true);
    if (view !== "clean") expect(all.clean.gradient.every((g) => g === 0)).toBe(true);
  });
});
