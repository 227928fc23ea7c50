/**
 * Recorded passes with a recorder in memory: taken at the second run of a head and shape, the same values as without, refused work runs
 * as before, and every recording is freed.
 */
import type { Tensor, Tensor4D } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { configSchema } from "../../src/config/schema.js";
import { startEngine } from "../../src/engine/choose.js";
import { type EngineOps, ops } from "../../src/engine/ops.js";
import { createModel } from "../../src/model/create.js";
import { energyHead } from "../../src/model/heads.js";

const config = configSchema.parse({
  name: "recorded",
  data: { path: "none" },
  model: { kind: "convnet", stages: [{ channels: 4, stride: 2 }] },
});

describe("recorded passes", () => {
  let log: string[] = [];
  let engineOps: EngineOps;
  let refuses = false;
  beforeEach(async () => {
    await startEngine({ engine: "cpu", device: "cpu", threads: 1 });
    log = [];
    refuses = false;
    engineOps = ops();
    // Replays by running the work again: what a graph does, without its fixed addresses.
    engineOps.record = (_x: Tensor, body: (given: Tensor) => Tensor[]) => {
      log.push("record");
      if (refuses) return null;
      return {
        run(x) {
          log.push("run");
          return body(x);
        },
        dispose: () => void log.push("dispose"),
      };
    };
  });
  afterEach(() => {
    delete engineOps.record;
  });

  function bound() {
    const model = createModel(config.model, [8, 8, 3], 5);
    const parameters = tf.tensor1d(model.initial(1n));
    const network = model.bind(parameters, "fp32");
    parameters.dispose();
    return network;
  }
  const images = (count: number): Tensor4D => tf.randomUniform([count, 8, 8, 3], 0, 1, "float32", 3);

  it("are taken from the second run on, for each head and shape, and change nothing", () => {
    const network = bound();
    const head = energyHead();
    const [two, three] = [images(2), images(3)];
    const values: Float32Array[] = [];
    for (const x of [two, two, two, three]) {
      const { logits, gradient } = network.inputGradient(x, head);
      values.push(gradient.dataSync() as Float32Array);
      tf.dispose([logits, gradient]);
    }
    expect(log).toEqual(["record", "run", "run"]);
    expect(values[1]).toEqual(values[0]);
    expect(values[2]).toEqual(values[0]);
    network.dispose();
    expect(log.at(-1)).toBe("dispose");
    tf.dispose([two, three]);
  });

  it("are asked for once where the engine can't, and the pass runs as before", () => {
    refuses = true;
    const network = bound();
    const head = energyHead();
    const x = images(2);
    for (let i = 0; i < 4; i++) {
      const { logits, gradient } = network.inputGradient(x, head);
      expect(gradient.shape).toEqual([2, 8, 8, 3]);
      tf.dispose([logits, gradient]);
    }
    expect(log).toEqual(["record"]);
    network.dispose();
    x.dispose();
  });

  it("of heads long out of use are freed", () => {
    const network = bound();
    const x = images(1);
    for (let i = 0; i < 6; i++) {
      const head = energyHead();
      for (let run = 0; run < 2; run++) {
        const { logits, gradient } = network.inputGradient(x, head);
        tf.dispose([logits, gradient]);
      }
    }
    expect(log.filter((line) => line === "dispose")).toHaveLength(2);
    network.dispose();
    expect(log.filter((line) => line === "dispose")).toHaveLength(6);
    x.dispose();
  });
});
