/** The portable operations on TensorFlow.js's cpu backend: the reference engine. */
import { startCpu } from "../../src/engine/cpu.js";
import { opsContract } from "./ops-contract.js";

opsContract("cpu", startCpu);
