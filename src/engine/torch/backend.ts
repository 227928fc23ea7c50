/**
 * The TensorFlow.js backend: storage by reference count over native tensors. A dataId is a `Value` (aten.ts), so finding a
 * tensor's storage is no look-up at all; only data that came from another backend stands in a map.
 *
 * Reading blocks, on the CPU as on a GPU: train in a worker thread.
 */

import type { BackendValues, DataType } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { bridge, device } from "./bridge.js";
import type { HostArray } from "./native.js";
import { BOOL, COMPLEX, INT, STRING, scalarTypeOf } from "./scalar-type.js";
import { fromHost, keep, release, scope, Value } from "./value.js";

export class TorchBackend extends tf.KernelBackend {
  #numDataIds = 0;
  /** Data that began in another backend keeps that one's ids. */
  readonly #adopted = new WeakMap<object, Value>();

  /** The storage behind a dataId; moves it here if it lies in another backend. */
  value(dataId: object): Value {
    if (dataId instanceof Value) return dataId;
    const known = this.#adopted.get(dataId);
    if (known) return known;
    tf.engine().moveData(this, dataId);
    return this.#adopted.get(dataId) as Value;
  }

  /** Hands a kernel's result, or one of its inputs, to TensorFlow.js: one more reference. */
  info(value: Value): Value {
    if (value.refCount === 0) this.#numDataIds++;
    return keep(value);
  }

  override write(values: BackendValues, shape: number[], dtype: DataType): object {
    return scope(() => this.info(this.#make(values, shape, dtype)));
  }

  override move(dataId: object, values: BackendValues, shape: number[], dtype: DataType, refCount: number): void {
    scope(() => {
      const value = this.#make(values, shape, dtype);
      this.info(value);
      value.refCount = refCount;
      this.#adopted.set(dataId, value);
    });
  }

  #make(values: BackendValues | number[], shape: number[], dtype: DataType): Value {
    if (dtype === "string") {
      // Mapped, not copied one by one: places that were never set stay holes, and core skips them.
      const strings = (values as unknown as (Uint8Array | string)[]).map((one) =>
        typeof one === "string" ? tf.util.encodeString(one) : one,
      );
      return new Value(0, STRING, shape, strings);
    }
    const type = scalarTypeOf(dtype);
    const size = tf.util.sizeFromShape(shape) * (type === COMPLEX ? 2 : 1);
    // Some callers reserve space without values, to be filled by nobody: zeros are as good as any.
    const given = (values ?? new Float32Array(size)) as HostArray | number[];
    return fromHost(hostArray(given, type), type, shape);
  }

  override async read(dataId: object): Promise<BackendValues> {
    return this.readSync(dataId);
  }

  override readSync(dataId: object): BackendValues {
    const value = this.value(dataId);
    if (value.strings) return value.strings;
    const size = tf.util.sizeFromShape(value.shape);
    const target =
      value.type === INT
        ? new Int32Array(size)
        : value.type === BOOL
          ? new Uint8Array(size)
          : new Float32Array(value.type === COMPLEX ? 2 * size : size);
    scope(() => bridge().read(value.handle, target));
    return target;
  }

  override disposeData(dataId: object, force = false): boolean {
    const value = dataId instanceof Value ? dataId : this.#adopted.get(dataId);
    if (!value || value.refCount === 0) return true;
    if (force) value.refCount = 1;
    if (!release(value)) return false;
    this.#adopted.delete(dataId);
    this.#numDataIds--;
    return true;
  }

  override refCount(dataId: object): number {
    return (dataId instanceof Value ? dataId : this.#adopted.get(dataId))?.refCount ?? 0;
  }

  override incRef(dataId: object): void {
    keep(this.value(dataId));
  }

  override numDataIds(): number {
    return this.#numDataIds;
  }

  /** Blocks until the values are there; what `tf.whereAsync` asks of a backend. */
  where(condition: tf.Tensor): tf.Tensor2D {
    return tf.kernel_impls.whereImpl(condition.shape, condition.dataSync() as Uint8Array);
  }

  override memory(): { unreliable: boolean } {
    return { unreliable: false, ...bridge().memory(device()) };
  }

  override timerAvailable(): boolean {
    return true;
  }

  override async time(body: () => void): Promise<{ kernelMs: number }> {
    const begin = performance.now();
    body();
    return { kernelMs: performance.now() - begin };
  }

  override floatPrecision(): 16 | 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override dispose(): void {}
}

/** Plain arrays and arrays of another kind become what the scalar type is stored as. */
function hostArray(values: HostArray | number[], type: number): HostArray {
  if (type === INT) return values instanceof Int32Array ? values : Int32Array.from(values);
  if (type === BOOL) return values instanceof Uint8Array ? values : Uint8Array.from(values, (value) => (value ? 1 : 0));
  return values instanceof Float32Array ? values : Float32Array.from(values);
}
