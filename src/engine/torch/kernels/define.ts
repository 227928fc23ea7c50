/**
 * How a TensorFlow.js kernel is written here: an expression over native values. Its scratch is freed when it ends, its
 * result (or an input that it hands on) gets one reference more.
 */
import type { DataType, KernelConfig, KernelFunc, TensorInfo } from "@tensorflow/tfjs-core";
import type { TorchBackend } from "../backend.js";
import { BYTE, DOUBLE, FLOAT, INT, LONG } from "../scalar-type.js";
import { scope, type Value } from "../value.js";
import { cast } from "./convert.js";
import { onCpu } from "./fallback.js";

/** A kernel's named inputs as native values. */
export type Values<Inputs> = { [Name in keyof Inputs]: Value };

/** A kernel of named inputs. Types of ATen's that TensorFlow.js lacks are narrowed on the way out. */
export function kernel<Inputs extends object, Attrs = unknown>(
  kernelName: string,
  body: (inputs: Values<Inputs>, attrs: Attrs) => Value | Value[],
): KernelConfig {
  return config(kernelName, (inputs, attrs, backend) => {
    const values: Record<string, Value> = {};
    for (const name in inputs) {
      const input = inputs[name];
      if (input) values[name] = backend.value(input.dataId);
    }
    return body(values as Values<Inputs>, attrs as Attrs);
  });
}

/** A kernel of a list of inputs, for example Concat. */
export function listKernel<Attrs = unknown>(kernelName: string, body: (inputs: Value[], attrs: Attrs) => Value | Value[]): KernelConfig {
  return config(kernelName, (inputs, attrs, backend) =>
    body(
      (inputs as unknown as TensorInfo[]).map((input) => backend.value(input.dataId)),
      attrs as Attrs,
    ),
  );
}

function config(
  kernelName: string,
  body: (inputs: Record<string, TensorInfo | undefined>, attrs: unknown, backend: TorchBackend) => Value | Value[],
): KernelConfig {
  const kernelFunc: KernelFunc = ({ inputs, attrs, backend }) => {
    const torch = backend as TorchBackend;
    const given = inputs as Record<string, TensorInfo | undefined>;
    if (hasStrings(given, attrs)) return onCpu(kernelName, inputs, attrs, torch);
    return scope(() => {
      const result = body(given, attrs, torch);
      return Array.isArray(result) ? result.map((value) => torch.info(narrowed(value))) : torch.info(narrowed(result));
    });
  };
  return { kernelName, backendName: "torch", kernelFunc };
}

/** Strings are no business of ATen's. */
function hasStrings(inputs: Record<string, TensorInfo | undefined>, attrs: unknown): boolean {
  for (const name in inputs) if (inputs[name]?.dtype === "string") return true;
  return (
    (attrs as { dtype?: DataType; value?: unknown } | undefined)?.dtype === "string" ||
    typeof (attrs as { value?: unknown } | undefined)?.value === "string"
  );
}

function narrowed(value: Value): Value {
  if (value.type === LONG || value.type === BYTE) return cast(value, INT);
  if (value.type === DOUBLE) return cast(value, FLOAT);
  return value;
}
