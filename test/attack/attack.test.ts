/** The registry's attacks on models with known optima, their bounds, and their independence of how a batch is cut. */
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { createAttack } from "../../src/attack/attack.js";
import { startCpu } from "../../src/engine/cpu.js";
import { fillUniform } from "../../src/engine/random/philox.js";
import { linearModel } from "../kit/analytic-model.js";
import * as fc from "../kit/property.js";
import { expectNoTensorsLeft } from "../kit/tensors.js";
import { attackConfig, curvedModel, images, keyAt, ROWS, W0, W1 } from "./kit.js";

beforeAll(() => startCpu());
expectNoTensorsLeft();

const EPS = 8 / 255;
const difference = W1.map((w, i) => w - (W0[i] as number)); // for label 0 the loss grows along w1 - w0

/** The attacked samples of a slice of ROWS. */
function crafted(overrides: Record<string, unknown>, positions: readonly number[] = [0, 1, 2, 3], curved = false): number[] {
  const model = curved ? curvedModel() : linearModel([W0, W1]);
  const config = attackConfig(overrides);
  const attack = createAttack(config);
  if (attack.kind !== "craft") throw new Error("not a crafted attack");
  const x = images(positions.map((position) => ROWS[position] as readonly number[]));
  const labels = Int32Array.from(positions, () => 0);
  const out = attack.craft({ model, x, labels, numClasses: curved ? 3 : 2, config, key: keyAt(positions) });
  const values = Array.from(out.dataSync());
  tf.dispose([x, out]);
  model.dispose();
  return values;
}

/** What the random start of a position is, drawn by hand. */
function uniformStart(position: number): Float32Array {
  const values = new Float32Array(4);
  fillUniform(values, { seed: 7n, purpose: 4, step: 3, inner: 0, position });
  return values;
}

describe("FGSM from a random start", () => {
  it("is one step of 1.25 eps, projected: worked by hand on a linear model", () => {
    const values = crafted({ kind: "fgsm-rs" });
    ROWS.forEach((row, r) => {
      const start = uniformStart(r);
      row.forEach((v, i) => {
        const begun = (start[i] as number) * 2 * EPS - EPS;
        const moved = begun + 1.25 * EPS * Math.sign(difference[i] as number);
        expect(values[r * 4 + i]).toBeCloseTo(v + Math.max(-EPS, Math.min(EPS, moved)), 6);
      });
    });
  });

  it("takes another step size, and pays no heed to the settings of PGD", () => {
    expect(crafted({ kind: "fgsm-rs", steps: 7, stepSize: 0.5, restarts: 3 })).toEqual(crafted({ kind: "fgsm-rs" }));
    expect(crafted({ kind: "fgsm-rs", fgsmStep: 0 + 1e-9 })).not.toEqual(crafted({ kind: "fgsm-rs" }));
  });
});

describe("N-FGSM", () => {
  it("starts within 2 eps, steps eps and does not project onto eps: worked by hand", () => {
    const values = crafted({ kind: "n-fgsm" });
    let furthest = 0;
    ROWS.forEach((row, r) => {
      const start = uniformStart(r);
      row.forEach((v, i) => {
        const delta = (start[i] as number) * 4 * EPS - 2 * EPS + EPS * Math.sign(difference[i] as number);
        furthest = Math.max(furthest, Math.abs(delta));
        expect(values[r * 4 + i]).toBeCloseTo(v + delta, 6);
      });
    });
    expect(furthest).toBeGreaterThan(EPS);
    expect(furthest).toBeLessThanOrEqual(3 * EPS);
  });

  it("is refused where it isn't defined", () => {
    expect(() => attackConfig({ kind: "n-fgsm", norm: "l2" })).toThrow(/defined in linf/);
  });
});

describe("PGD without projection", () => {
  it("leaves its ball by as much as its steps carry it, and stays in [0,1]", () => {
    // EB-JDAT's released attack in its own scale: start within 8/255, five steps of 2/255, no projection: up to 18/255.
    const values = crafted({ project: false, steps: 5, stepSize: "2/255", target: "eb-jdat" });
    const furthest = Math.max(...ROWS.flatMap((row, r) => row.map((v, i) => Math.abs((values[r * 4 + i] as number) - v))));
    expect(furthest).toBeGreaterThan(EPS * 1.2);
    expect(furthest).toBeLessThanOrEqual(18 / 255 + 1e-6);
    expect(crafted({ project: false, steps: 400, stepSize: 0.1 }).every((v) => v === 0 || v === 1)).toBe(true);
  });

  it("is a setting of PGD alone", () => {
    expect(() => attackConfig({ kind: "fgsm-rs", project: false })).toThrow(/a setting of pgd, and attack.kind is fgsm-rs/);
  });
});

describe.each([
  { kind: "pgd", steps: 4 },
  { kind: "pgd", steps: 3, norm: "l2", eps: 0.2, restarts: 2 },
  { kind: "fgsm-rs" },
  { kind: "n-fgsm" },
])("$kind ($norm)", (config) => {
  it("gives a sample the same perturbation wherever the batch is cut", () => {
    const whole = crafted({ ...config, target: "kl" }, [0, 1, 2, 3], true);
    const cut = [...crafted({ ...config, target: "kl" }, [0], true), ...crafted({ ...config, target: "kl" }, [1, 2, 3], true)];
    cut.forEach((value, i) => {
      expect(value).toBeCloseTo(whole[i] as number, 6);
    });
  });
});

describe("every attack that crafts its samples", () => {
  it.each(["pgd", "fgsm-rs", "n-fgsm"])("%s keeps its bound for any budget, which it asserts itself, and pixels in [0,1]", (kind) => {
    const share = fc.double({ min: 0.001, max: 2, noNaN: true });
    fc.assert(
      fc.property(share, share, share, fc.constantFrom("uniform", "gaussian", "zero"), (eps, fgsmStep, noiseRadius, start) => {
        const values = crafted({ kind, eps, fgsmStep, noiseRadius, start, stepSize: eps, steps: 2 });
        const bound = kind === "n-fgsm" ? (noiseRadius + fgsmStep) * eps : eps;
        ROWS.forEach((row, r) => {
          row.forEach((v, i) => {
            expect(Math.abs((values[r * 4 + i] as number) - v)).toBeLessThanOrEqual(bound * (1 + 1e-5) + 1e-6);
          });
        });
        expect(values.every((v) => v >= 0 && v <= 1)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });
});

describe("attacks that move with the update", () => {
  const replayOf = (overrides: Record<string, unknown>) => {
    const attack = createAttack(attackConfig(overrides));
    if (attack.kind !== "replay") throw new Error("not a replayed attack");
    return attack.replay;
  };

  it("Free: as many updates as replays, one step of the perturbation for each", () => {
    const replay = replayOf({ kind: "free", replays: 8, stepSize: EPS, start: "zero" });
    expect([replay.passes, replay.updates]).toEqual([8, "each"]);
    const x = images(ROWS);
    const gradient = images(ROWS.map(() => [1, -2, 0, 5]));
    const begun = replay.begin(x, keyAt([0, 1, 2, 3]));
    expect(begun.dataSync()).toEqual(x.dataSync());
    const moved = replay.advance(x, begun, gradient);
    ROWS.forEach((row, r) => {
      [1, -1, 0, 1].forEach((sign, i) => {
        expect(moved.dataSync()[r * 4 + i]).toBeCloseTo((row[i] as number) + sign * EPS, 6);
      });
    });
    tf.dispose([x, gradient, begun, moved]);
  });

  it("YOPO: n steps for each pass, inside the ball, and one update", () => {
    const replay = replayOf({ kind: "yopo", replays: 5, innerSteps: 3, stepSize: "2/255", start: "uniform" });
    expect([replay.passes, replay.updates]).toEqual([5, "once"]);
    const x = images(ROWS);
    const gradient = images(ROWS.map(() => [1, -2, 0, 5]));
    const begun = replay.begin(x, keyAt([0, 1, 2, 3]));
    const moved = replay.advance(x, begun, gradient);
    ROWS.forEach((row, r) => {
      const start = uniformStart(r);
      [1, -1, 0, 1].forEach((sign, i) => {
        const begunAt = (start[i] as number) * 2 * EPS - EPS;
        const expected = Math.max(-EPS, Math.min(EPS, begunAt + (sign * 6) / 255));
        expect(moved.dataSync()[r * 4 + i]).toBeCloseTo((row[i] as number) + expected, 6);
      });
    });
    tf.dispose([x, gradient, begun, moved]);
  });
});
