/**
 * The tensorflow engine where its library is installed. Where it is not, what its operations do differently (padding images
 * before a convolution that knows "valid" only) is still held to the contract, on TensorFlow.js's cpu backend.
 */
import { describe, expect, it } from "vitest";
import { startCpu } from "../../src/engine/cpu.js";
import type { Engine } from "../../src/engine/engine.js";
import { registerOps } from "../../src/engine/ops.js";
import { startTensorflow, tensorflowOps } from "../../src/engine/tensorflow.js";
import { opsContract } from "./ops-contract.js";

const start = () => startTensorflow({ device: "cpu", threads: 1 });
const missing = await start().then(
  () => null,
  (error: unknown) => error,
);

if (missing === null) opsContract("tensorflow", start);
else {
  describe.skip("operations of the tensorflow engine", () =>
    it.skip("skipped: neither tfjs-node-gpu nor tfjs-node is installed", () => {}));

  describe("a tensorflow engine that is not installed", () => {
    it("says so, and what to install", () => {
      expect(missing).toMatchObject({ code: "ENGINE", hint: expect.stringMatching(/npm (install|rebuild) @tensorflow\/tfjs-node-gpu/) });
    });
  });

  opsContract("tensorflow (its operations on the cpu backend)", async (): Promise<Engine> => {
    const engine = await startCpu();
    registerOps("cpu", tensorflowOps);
    return engine;
  });
}
