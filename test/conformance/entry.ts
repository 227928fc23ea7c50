/**
 * What esbuild bundles for the conformance run: the torch backend and, after it is declared as the environment under test,
 * the suite that tfjs-core ships for backends. Requires keep their order; imports would be hoisted above it.
 */
declare const require: (name: string) => unknown;

require("@tensorflow/tfjs-core");
require("@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops");
require("@tensorflow/tfjs-core/dist/register_all_gradients");
require("@tensorflow/tfjs-backend-cpu");
const { openBridge } = require("../../src/engine/torch/bridge.js") as typeof import("../../src/engine/torch/bridge.js");
const { registerTorch, TORCH } = require("../../src/engine/torch/register.js") as typeof import("../../src/engine/torch/register.js");
const jasmineUtil = require("@tensorflow/tfjs-core/dist/jasmine_util") as {
  setTestEnvs(envs: { name: string; backendName: string; flags: object; isDataSync: boolean }[]): void;
};

openBridge(process.env.ISOERG_CONFORMANCE_BRIDGE ?? "", -1).setThreads(1);
registerTorch();
jasmineUtil.setTestEnvs([{ name: TORCH, backendName: TORCH, flags: {}, isDataSync: true }]);
require("@tensorflow/tfjs-core/dist/tests");
