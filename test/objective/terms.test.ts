import { describe, expect, it } from "vitest";
import { objectiveSchema } from "../../src/config/schema/objective.js";
import { fillNormal } from "../../src/engine/random/philox.js";
import { createObjective } from "../../src/objective/objective.js";
import type { TermContext } from "../../src/objective/term.js";
import { TERM_NAMES, TERMS, type TermName } from "../../src/objective/terms.js";
import { type Constants, createView, VIEW_NAMES, type View, type ViewName, type ViewRole, type Views } from "../../src/objective/view.js";
import * as fc from "../kit/property.js";

const NUM_CLASSES = 4;
const sizeOf = (name: ViewName): number => (name === "generated" ? 3 : 5);
const LABELS = Int32Array.from([0, 3, 1, 2, 2]);

type Logits = Readonly<Record<ViewName, Float64Array>>;

/** Standard normal logits times 1.5, a function of an integer: never at a kink of a term. */
const logitsArbitrary = fc.integer({ min: 0, max: 1e6 }).map((seed): Logits => {
  const row = new Float32Array(5 * NUM_CLASSES);
  const values = VIEW_NAMES.map((name, position) => {
    fillNormal(row, { seed: BigInt(seed), purpose: 250, step: 0, position });
    return [name, Float64Array.from(row.subarray(0, sizeOf(name) * NUM_CLASSES), (v) => 1.5 * v)] as const;
  });
  return Object.fromEntries(values) as unknown as Logits;
});

/** The views behind a term's roles. */
const viewsRead = (name: TermName): ViewName[] => [...new Set(TERMS[name].needs.map((role) => (role === "data" ? "clean" : role)))];

/** Views that a term reads as constants, in part or altogether: differences of its value say nothing of their gradient. */
const HELD: Readonly<Partial<Record<TermName, ViewName>>> = {
  vat: "clean",
  "weat-clean-ce": "clean",
  "weat-adversarial-ce": "clean",
  "weat-kl": "clean",
};

/** As makers of neighbours give them: any numbers will do for a gradient. */
const CONSTANTS: Constants = {
  scale: Float64Array.of(0.7, 1.3, 0, 2, 0.4),
  cosine: Float64Array.of(0.9, -0.2, 1, 0.5, 0),
  share: Float64Array.of(0.1, 0.5, 0.9, 0, 0.3),
};

function cutConstants(from: number, to: number): Constants {
  return Object.fromEntries(Object.entries(CONSTANTS).map(([name, values]) => [name, values.subarray(from, to)]));
}

function viewsOf(logits: Logits): Record<ViewRole, View> {
  const views = Object.fromEntries(
    VIEW_NAMES.map((name) => [name, createView(logits[name], { numClasses: NUM_CLASSES, total: sizeOf(name), constants: CONSTANTS })]),
  ) as Record<ViewName, View>;
  return { ...views, data: views.clean };
}

const SETTINGS = objectiveSchema.parse({ "label-smoothing": 0.1, "align-beta": 0.7 });

/** With the sums over one worker that has it all. */
function contextOf(name: TermName, views: Views): TermContext {
  return { labels: LABELS, settings: SETTINGS, sums: Float64Array.from(TERMS[name].shares?.(views) ?? []) };
}

function termValue(name: TermName, logits: Logits): number {
  const views = viewsOf(logits);
  return TERMS[name].apply(views, contextOf(name, views), 1);
}

describe.each(TERM_NAMES)("term %s", (name) => {
  it("has the gradient that finite differences show, in float64", () => {
    fc.assert(
      fc.property(logitsArbitrary, (logits) => {
        const views = viewsOf(logits);
        TERMS[name].apply(views, contextOf(name, views), 1);
        const h = 1e-5;
        for (const view of viewsRead(name).filter((read) => read !== HELD[name])) {
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
    const declared = Object.fromEntries(TERMS[name].needs.map((view) => [view, all[view]]));
    expect(() => TERMS[name].apply(declared, contextOf(name, all), 1)).not.toThrow();
  });

  it("gives shares that add up to the same value and gradient however the batch is cut", () => {
    fc.assert(
      fc.property(logitsArbitrary, fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 3 }), (logits, cut, chainCut) => {
        const whole = viewsOf(logits);
        const context = contextOf(name, whole);
        const value = TERMS[name].apply(whole, context, 1);
        let sum = 0;
        const gradients = Object.fromEntries(VIEW_NAMES.map((view) => [view, []])) as unknown as Record<ViewName, number[]>;
        for (const part of [0, 1]) {
          const range = (view: ViewName): [number, number] => {
            const at = view === "generated" ? chainCut : cut;
            return part === 0 ? [0, at] : [at, sizeOf(view)];
          };
          const cutViews = Object.fromEntries(
            VIEW_NAMES.map((view) => {
              const [from, to] = range(view);
              const rows = logits[view].subarray(from * NUM_CLASSES, to * NUM_CLASSES);
              return [view, createView(rows, { numClasses: NUM_CLASSES, total: sizeOf(view), constants: cutConstants(from, to) })];
            }),
          ) as Record<ViewName, View>;
          const views = { ...cutViews, data: cutViews.clean };
          sum += TERMS[name].apply(views, { ...context, labels: LABELS.subarray(...range("clean")) }, 1);
          for (const view of VIEW_NAMES) gradients[view].push(...views[view].gradient);
        }
        expect(sum).toBeCloseTo(value, 10);
        for (const view of VIEW_NAMES) {
          whole[view].gradient.forEach((g, i) => {
            expect(gradients[view][i]).toBeCloseTo(g, 10);
          });
        }
      }),
      { numRuns: 30 },
    );
  });
});

/** One step of gradient descent on a term, on logits as if they were free: how the energies of the views move, summed. */
function energyChange(name: TermName, logits: Logits): Record<ViewName, number> {
  const views = viewsOf(logits);
  TERMS[name].apply(views, contextOf(name, views), 1);
  const change = (view: ViewName): number => {
    const before = views[view];
    const moved = before.logits.map((f, i) => f - 0.01 * (before.gradient[i] as number));
    const after = createView(moved, { numClasses: NUM_CLASSES, total: before.total });
    return after.energies.reduce((a, b) => a + b, 0) - before.energies.reduce((a, b) => a + b, 0);
  };
  return Object.fromEntries(VIEW_NAMES.map((view) => [view, change(view)])) as Record<ViewName, number>;
}

/** The term's value after one small step of descent on it is smaller. */
function descends(name: TermName, logits: Logits): boolean {
  const views = viewsOf(logits);
  TERMS[name].apply(views, contextOf(name, views), 1);
  const moved = Object.fromEntries(
    VIEW_NAMES.map((view) => [view, views[view].logits.map((f, i) => f - 1e-4 * (views[view].gradient[i] as number))]),
  ) as unknown as Logits;
  return termValue(name, moved) < termValue(name, logits);
}

/** Logits whose energies are about the given numbers. */
function logitsWithEnergies(energies: Readonly<Partial<Record<ViewName, number>>>): Logits {
  const make = (view: ViewName): Float64Array =>
    Float64Array.from({ length: sizeOf(view) * NUM_CLASSES }, (_, i) => -(energies[view] ?? 0) - Math.log(NUM_CLASSES) + 0.1 * Math.sin(i));
  return Object.fromEntries(VIEW_NAMES.map((view) => [view, make(view)])) as unknown as Logits;
}

it.each(TERM_NAMES.filter((name) => !name.startsWith("weat-")))("one small step of descent on %s makes it smaller", (name) => {
  fc.assert(
    fc.property(logitsArbitrary, (logits) => {
      const views = viewsOf(logits);
      TERMS[name].apply(views, contextOf(name, views), 1);
      const size = VIEW_NAMES.reduce((sum, view) => sum + views[view].gradient.reduce((a, g) => a + g * g, 0), 0);
      return size < 1e-6 || descends(name, logits);
    }),
    { numRuns: 15 },
  );
});

it("WEAT weights are constants, and so is the target of VAT", () => {
  const logits = fc.sample(logitsArbitrary, 1)[0] as Logits;
  const gradients = (name: TermName): Record<ViewRole, View> => {
    const views = viewsOf(logits);
    TERMS[name].apply(views, { ...contextOf(name, views), settings: objectiveSchema.parse({}) }, 1);
    return views;
  };
  const { clean } = viewsOf(logits);
  for (const [weighted, plain] of [
    ["weat-clean-ce", "clean-ce"],
    ["weat-adversarial-ce", "adversarial-ce"],
    ["weat-kl", "trades-kl"],
  ] as const) {
    const [own, expected] = [gradients(weighted), gradients(plain)];
    for (const view of ["clean", "adversarial"] as const) {
      own[view].gradient.forEach((g, j) => {
        const weight = 1 / Math.log(1 + Math.exp(Math.abs(clean.energies[Math.floor(j / NUM_CLASSES)] as number)));
        expect(g).toBeCloseTo(weight * (expected[view].gradient[j] as number), 12);
      });
    }
  }
  expect(gradients("vat").clean.gradient.every((g) => g === 0)).toBe(true);
});

describe("one step of descent moves energies the documented way", () => {
  const logits = logitsWithEnergies({ clean: -1, adversarial: -3, generated: -5 });

  it.each(["contrast", "binary-contrast"] as const)("%s lowers the data's energy and raises generated energy", (name) => {
    const change = energyChange(name, logits);
    expect(change.clean).toBeLessThan(0);
    expect(change.generated).toBeGreaterThan(0);
    expect(change.adversarial).toBe(0);
  });

  it("signed-gap-down lowers adversarial and raises clean energy, and signed-gap-up the reverse, wherever they are", () => {
    for (const energies of [
      { clean: -1, adversarial: -3 },
      { clean: -3, adversarial: -1 },
    ]) {
      const down = energyChange("signed-gap-down", logitsWithEnergies(energies));
      expect(down.adversarial).toBeLessThan(0);
      expect(down.clean).toBeGreaterThan(0);
      const up = energyChange("signed-gap-up", logitsWithEnergies(energies));
      expect(up.adversarial).toBeGreaterThan(0);
      expect(up.clean).toBeLessThan(0);
    }
  });

  it.each(["align-adversarial", "align-adversarial-squared"] as const)("%s raises the lower and lowers the higher", (name) => {
    const below = energyChange(name, logits);
    expect(below.adversarial).toBeGreaterThan(0);
    expect(below.clean).toBeLessThan(0);
    const above = energyChange(name, logitsWithEnergies({ clean: -3, adversarial: -1, generated: 0 }));
    expect(above.adversarial).toBeLessThan(0);
    expect(above.clean).toBeGreaterThan(0);
  });

  it.each(["align-generated", "align-generated-moments"] as const)("%s brings the means together from either side", (name) => {
    const below = energyChange(name, logits);
    expect(below.generated).toBeGreaterThan(0);
    expect(below.clean).toBeLessThan(0);
    const above = energyChange(name, logitsWithEnergies({ clean: -3, adversarial: 0, generated: -1 }));
    expect(above.generated).toBeLessThan(0);
    expect(above.clean).toBeGreaterThan(0);
  });

  it("align-generated-moments widens what is narrower", () => {
    const spread = (view: View): number => Math.max(...view.energies) - Math.min(...view.energies);
    const narrow = logitsWithEnergies({ clean: -1, generated: -1 });
    const wide = { ...narrow, clean: narrow.clean.map((f, i) => f + (i < 2 * NUM_CLASSES ? 2 : 0)) };
    const views = viewsOf(wide);
    TERMS["align-generated-moments"].apply(views, contextOf("align-generated-moments", views), 1);
    const moved = (view: ViewName): View => {
      const { logits: before, gradient, total } = views[view];
      return createView(
        before.map((f, i) => f - 0.01 * (gradient[i] as number)),
        { numClasses: NUM_CLASSES, total },
      );
    };
    expect(spread(moved("clean"))).toBeLessThan(spread(views.clean));
    expect(spread(moved("generated"))).toBeGreaterThan(spread(views.generated));
  });

  it.each(["energy-l2", "energy-l2-batch"] as const)("%s moves energies towards zero", (name) => {
    const change = energyChange(name, logitsWithEnergies({ clean: -2, adversarial: 0, generated: 3 }));
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
