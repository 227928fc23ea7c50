/** The wasm engine, with its own convolution gradients. */
import { startWasm } from "../../src/engine/wasm.js";
import { opsContract } from "./ops-contract.js";

opsContract("wasm", startWasm);
