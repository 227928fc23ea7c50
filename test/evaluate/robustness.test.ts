/** Robustness on models whose truth is known: undefended ones, ones that only mask their gradients, and what must not matter. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startCpu } from "../../src/engine/cpu.js";
import { draws } from "../../src/engine/random/philox.js";
import { attacks, type Effort, type Slice, selectRows, standardAttacks, standardEffort } from "../../src/evaluate/robustness/attacks.js";
import { type Chunk, newChunk, runChunk } from "../../src/evaluate/robustness/chunk.js";
import { createChunkStore } from "../../src/evaluate/robustness/chunk-store.js";
import { createProgressCounter } from "../../src/evaluate/robustness/progress.js";
import { type Robustness, robustnessSchema } from "../../src/evaluate/robustness/robustness.js";
import { summarise } from "../../src/evaluate/robustness/summary.js";
import { curveBudgets, type Task, tasksFor } from "../../src/evaluate/robustness/tasks.js";
import type { BoundModel } from "../../src/model/model.js";
import { linearModel } from "../kit/analytic-model.js";

const SHAPE = [4, 4, 3] as const;
const SIZE = 48;
const NUM_CLASSES = 5;
const NUM_SAMPLES = 24;

beforeAll(() => startCpu());

const rowOf = (position: number, from: number, to: number): number[] => {
  const draw = draws({ seed: 11n, purpose: 201, step: 0, position });
  return Array.from({ length: SIZE }, () => from + (to - from) * draw.uniform());
};
const weights = Array.from({ length: NUM_CLASSES }, (_, k) => rowOf(1000 + k, -1, 1));
const data = Array.from({ length: NUM_SAMPLES }, (_, i) => Float32Array.from(rowOf(i, 0.1, 0.9)));
const score = (x: ArrayLike<number>): number[] => weights.map((w) => w.reduce((sum, wi, j) => sum + wi * (x[j] as number), 0));
// The first three are labelled wrongly, so that clean accuracy is not one.
const labels = Int32Array.from(data, (x, i) => {
  const z = score(x);
  return (z.indexOf(Math.max(...z)) + (i < 3 ? 1 : 0)) % NUM_CLASSES;
});

function sliceOf(model: BoundModel, ids: readonly number[]): Slice {
  return {
    model,
    shape: SHAPE,
    numClasses: NUM_CLASSES,
    x: Float32Array.from(ids.flatMap((id) => [...(data[id] as Float32Array)])),
    labels: Int32Array.from(ids, (id) => labels[id] as number),
    ids: Int32Array.from(ids),
    seed: 1n,
  };
}

/** The linear model with its logits changed on the way out, and the gradient that this change really has. */
function scaled(factor: number): BoundModel {
  return linearModel(weights.map((row) => row.map((w) => w * factor)));
}

/** f(round(8 x) / 8): a staircase, whose gradient is zero wherever it exists. */
function quantised(): BoundModel {
  const inner = linearModel(weights);
  const round = (x: Tensor4D): Tensor4D => tf.tidy(() => tf.div(tf.round(tf.mul(x, 8)), 8)) as Tensor4D;
  const logits = (x: Tensor4D): Tensor2D => tf.tidy(() => inner.logits(round(x)));
  return {
    logits,
    inputGradient(x, head) {
      const z = logits(x);
      tf.tidy(() => void head(z));
      return { logits: z, gradient: tf.zerosLike(x) };
    },
    forward: inner.forward,
    dispose: () => inner.dispose(),
  };
}

/** Answers with softmax(f), and differently each time. */
function noisyProbabilities(): BoundModel {
  const inner = linearModel(weights);
  let call = 0;
  const logits = (x: Tensor4D): Tensor2D =>
    tf.tidy(
      () =>
        tf.softmax(tf.add(inner.logits(x), tf.mul(tf.randomNormal([x.shape[0], NUM_CLASSES], 0, 1, "float32", ++call), 1e-3))) as Tensor2D,
    );
  return {
    logits,
    inputGradient(x, head) {
      const { logits: z, gradient } = inner.inputGradient(x, (f) =>
        tf.tidy(() => tf.mul(head(tf.softmax(f) as Tensor2D), tf.softmax(f)) as Tensor2D),
      );
      z.dispose();
      return { logits: logits(x), gradient };
    },
    forward: inner.forward,
    dispose: () => inner.dispose(),
  };
}

const QUICK: Effort = { ...standardEffort, steps: 20, queries: 150, targets: 3, pgdSteps: 10, pgdRestarts: 2, noiseDraws: 20 };

function tasksOf(
  eps: number,
  options: { numProbed?: number; transfer?: boolean; attacks?: Parameters<typeof tasksFor>[0]["attacks"] } = {},
): Task[] {
  return tasksFor({
    attacks: options.attacks ?? standardAttacks(NUM_CLASSES),
    budget: { norm: "linf", eps },
    effort: QUICK,
    numProbed: options.numProbed ?? NUM_SAMPLES,
    numPixels: SIZE,
    transfer: options.transfer ?? false,
    certify: null,
  });
}

async function evaluate(model: BoundModel, eps: number, tasks = tasksOf(eps), batchSize = 12, source?: BoundModel): Promise<Robustness> {
  const chunks: Chunk[] = [];
  for (let from = 0; from < NUM_SAMPLES; from += batchSize) {
    const to = Math.min(NUM_SAMPLES, from + batchSize);
    const ids = Array.from({ length: to - from }, (_, i) => from + i);
    chunks.push(
      await runChunk(newChunk("test", from, to), { ...sliceOf(model, ids), ...(source && { source }) }, tasks, {
        save: async () => undefined,
        now: () => 0,
      }),
    );
  }
  model.dispose();
  return summarise({
    tasks,
    budget: { norm: "linf", eps },
    chunks,
    labels,
    numClasses: NUM_CLASSES,
    fingerprint: "test",
    evaluatedAt: new Date(0).toISOString(),
  });
}

const verdicts = (found: Robustness): Record<string, string> =>
  Object.fromEntries(found.checklist?.checks.map(({ id, verdict }) => [id, verdict]) ?? []);
const suspicious = (found: Robustness): string[] =>
  Object.entries(verdicts(found)).flatMap(([id, verdict]) => (verdict === "suspicious" ? [id] : []));

/** In Linf, the distance of a linear model's sample to its nearest boundary, the box left out: a lower bound of the true one. */
function marginOf(i: number): number {
  const z = score(data[i] as Float32Array);
  const own = labels[i] as number;
  return Math.min(
    ...z.flatMap((value, k) => {
      if (k === own) return [];
      const dual = (weights[k] as number[]).reduce((sum, w, j) => sum + Math.abs(w - (weights[own]?.[j] as number)), 0);
      return [((z[own] as number) - value) / dual];
    }),
  );
}

describe("the robust accuracy", () => {
  it("of an undefended model goes to zero, and its checklist is clean", async () => {
    const found = await evaluate(linearModel(weights), 0.25);
    expect(found.clean).toMatchObject({ correct: 21, total: 24 });
    expect(found.robust).toMatchObject({ correct: 0 });
    expect(suspicious(found)).toEqual([]);
    expect(found.curve.at(-1)).toMatchObject({ eps: 1, accuracy: { accuracy: 0 } });
    expect(found.standard).toBe(false); // fewer steps and queries than AutoAttack's
    expect(robustnessSchema.parse(JSON.parse(JSON.stringify(found)))).toEqual(found);
  });

  it("of a linear model is, sample by sample, what its margins say", async () => {
    const eps = 0.04;
    const found = await evaluate(linearModel(weights), eps, tasksOf(eps, { numProbed: 0 }));
    expect(found.checklist).toBeNull();
    const standing = [...found.perSample.robust];
    expect(found.robust?.correct).toBeGreaterThan(2);
    expect(found.robust?.correct).toBeLessThan(19);
    standing.forEach((digit, i) => {
      const margin = marginOf(i);
      // Samples at the very edge of the budget may fall either way.
      if (Math.abs(margin - eps) > 0.002) expect(digit, `sample ${i}, margin ${margin}`).toBe(margin > eps ? "1" : "0");
    });
  });

  it("counts each sample's worst case, and every attack only what was left to it", async () => {
    const found = await evaluate(
      linearModel(weights),
      0.03,
      tasksOf(0.03, { numProbed: 0, attacks: ["noise", "fgsm", "apgd-t", "fab-t"] }),
    );
    let left = found.clean.correct;
    for (const attack of found.attacks) {
      expect(attack.attacked).toBe(left);
      left -= attack.fooled;
      expect(attack.accuracy.correct).toBe(left);
    }
    expect(found.robust?.correct).toBe(left);
    expect([...found.perSample.robust].filter((digit) => digit === "1")).toHaveLength(left);
  });

  it("does not depend on how samples are cut into batches", async () => {
    const tasks = tasksOf(0.04, { numProbed: 6 });
    const whole = await evaluate(linearModel(weights), 0.04, tasks, 24);
    for (const batchSize of [1, 7]) {
      const cut = await evaluate(linearModel(weights), 0.04, tasks, batchSize);
      expect(cut.perSample).toEqual(whole.perSample);
      expect(cut.attacks.map(({ fooled }) => fooled)).toEqual(whole.attacks.map(({ fooled }) => fooled));
      expect(cut.checklist).toEqual(whole.checklist);
      expect(cut.curve).toEqual(whole.curve);
    }
  });
});

describe("the checklist", () => {
  it("finds logits that are scaled until the loss saturates, and the attacks that do not mind break the model", async () => {
    const found = await evaluate(scaled(1e5), 0.25);
    expect(verdicts(found)).toMatchObject({ "zero-gradients": "suspicious", "logit-scale": "suspicious" });
    expect(found.robust).toMatchObject({ correct: 0 });
  });

  it("finds a quantised input: no gradient, noise and queries stronger than gradients, no fall to zero", async () => {
    const found = await evaluate(quantised(), 0.25);
    expect(suspicious(found)).toEqual(expect.arrayContaining(["zero-gradients", "gradient-free", "whole-range"]));
  });

  it("finds attacks that transfer from another model where the model's own do not work", async () => {
    const source = linearModel(weights);
    const tasks = tasksOf(0.1, { transfer: true });
    const masked = await evaluate(quantised(), 0.1, tasks, 12, source);
    expect(verdicts(masked).transfer).toBe("suspicious");
    const unrelated = linearModel(Array.from({ length: NUM_CLASSES }, (_, k) => rowOf(2000 + k, -1, 1)));
    const honest = await evaluate(linearModel(weights), 0.1, tasks, 12, unrelated);
    expect(verdicts(honest).transfer).toBe("pass");
    expect(verdicts(await evaluate(linearModel(weights), 0.1)).transfer).toBe("not applicable");
    source.dispose();
    unrelated.dispose();
  });

  it("finds probabilities in place of logits, and answers that change", async () => {
    expect(verdicts(await evaluate(noisyProbabilities(), 0.05))).toMatchObject({ deterministic: "suspicious", logits: "suspicious" });
  });
});

describe("every attack of the registry", () => {
  it.each(Object.keys(attacks) as (keyof typeof attacks)[])(
    "%s fools nobody without a budget, and its result is each sample's own",
    (name) => {
      const model = linearModel(weights);
      const ids = [3, 4, 5, 6, 7, 8];
      const all = sliceOf(model, ids);
      expect([...attacks[name].run(all, { norm: "linf", eps: 1e-7 }, QUICK)]).toEqual(ids.map(() => 0));
      for (const norm of ["linf", "l2"] as const) {
        const budget = { norm, eps: norm === "linf" ? 0.05 : 0.4 };
        const together = attacks[name].run(all, budget, QUICK);
        ids.forEach((_, row) => {
          expect(attacks[name].run(selectRows(all, [row]), budget, QUICK)[0]).toBe(together[row]);
        });
      }
      model.dispose();
    },
  );

  it("leaves no tensors behind", () => {
    const model = linearModel(weights);
    const before = tf.memory().numTensors;
    for (const attack of Object.values(attacks)) attack.run(sliceOf(model, [3, 4]), { norm: "l2", eps: 0.3 }, QUICK);
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });
});

describe("chunks on disk", () => {
  const folder = mkdtempSync(join(tmpdir(), "isoerg-chunks-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const tasks = tasksOf(0.04, { numProbed: 4 });
  const ids = Array.from({ length: 8 }, (_, i) => i + 3);

  it("go on where they were interrupted and come to the same", async () => {
    const model = linearModel(weights);
    const whole = await runChunk(newChunk("f", 3, 11), sliceOf(model, ids), tasks, { save: async () => undefined, now: () => 0 });
    for (let killedAfter = 0; killedAfter <= tasks.length; killedAfter += 3) {
      const store = createChunkStore(join(folder, String(killedAfter)), "f");
      let saves = 0;
      const dying = runChunk(await store.load(3, 11), sliceOf(model, ids), tasks, {
        now: () => 0,
        save: async (chunk) => {
          if (saves++ >= killedAfter) throw new Error("killed");
          await store.save(chunk);
        },
      });
      if (killedAfter < tasks.length) await expect(dying).rejects.toThrow("killed");
      const again = await runChunk(await store.load(3, 11), sliceOf(model, ids), tasks, { save: store.save, now: () => 0 });
      expect(again).toEqual(whole);
      expect(await store.load(3, 11)).toEqual(whole);
    }
    model.dispose();
  });

  it("are begun anew where a file is torn or belongs to another evaluation", async () => {
    const store = createChunkStore(join(folder, "torn"), "one");
    await store.save({ ...newChunk("one", 0, 8), clean: "11111111" });
    expect((await store.load(0, 8)).clean).toBe("11111111");
    expect((await createChunkStore(store.folder, "two").load(0, 8)).clean).toBeNull();
    expect((await store.load(0, 9)).clean).toBeNull();
    const file = join(store.folder, "samples-000000.json");
    writeFileSync(file, readFileSync(file).subarray(0, 40));
    expect(await store.load(0, 8)).toEqual(newChunk("one", 0, 8));
  });
});

describe("the progress of an evaluation", () => {
  it("rises to one, with a time left that falls to zero", async () => {
    const tasks = tasksOf(0.04, { numProbed: 4 });
    let clock = 0;
    const counter = createProgressCounter({ tasks, numClasses: NUM_CLASSES, numSamples: 16, now: () => clock });
    const shares: number[] = [];
    const model = linearModel(weights);
    for (const from of [0, 8]) {
      const counting: BoundModel = {
        ...model,
        logits: (x) => {
          clock += x.shape[0];
          counter.passes(from, x.shape[0]);
          return model.logits(x);
        },
        inputGradient: (x, head) => {
          clock += 3 * x.shape[0];
          counter.passes(from, 3 * x.shape[0]);
          return model.inputGradient(x, head);
        },
      };
      const ids = Array.from({ length: 8 }, (_, i) => from + i);
      await runChunk(newChunk("f", from, from + 8), sliceOf(counting, ids), tasks, {
        now: () => clock,
        save: async (chunk) => {
          counter.chunk(chunk);
          shares.push(counter.now().share);
        },
        onTask: (task, chunk) => {
          counter.chunk(chunk);
          counter.task(from, task.id);
        },
      });
    }
    model.dispose();
    const end = counter.now();
    expect(end).toMatchObject({ share: 1, secondsLeft: 0, numBegun: 16, numSamples: 16 });
    expect(shares[0]).toBeGreaterThan(0);
    expect(shares[0]).toBeLessThan(0.6);
    // The second chunk costs other than the first one did, so the estimate moves, but never far back.
    shares.slice(1).forEach((share, i) => {
      expect(share).toBeGreaterThan((shares[i] as number) - 0.15);
    });
  });
});

describe("budgets of the curve", () => {
  it("double from a quarter of the budget to the whole range", () => {
    expect(curveBudgets({ norm: "linf", eps: 8 / 255 }, 3072).map((eps) => Math.round(eps * 255))).toEqual([2, 4, 8, 16, 32, 64, 128, 255]);
    expect(curveBudgets({ norm: "l2", eps: 0.5 }, 3072).at(-1)).toBeCloseTo(Math.sqrt(3072), 9);
  });
});
