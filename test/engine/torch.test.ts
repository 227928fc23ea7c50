/** The contract of the engine's operations on libtorch. Skipped, with the reason, where there is none. */
import { describe, it } from "vitest";
import { opsContract } from "./ops-contract.js";
import { startTestTorch, torchMissing } from "./torch-kit.js";

const missing = await torchMissing();
if (missing) describe.skip("operations of the torch engine", () => it.skip(`skipped: ${missing}`, () => {}));
else opsContract("torch", startTestTorch);
