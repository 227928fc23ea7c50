/**
 * The bytes of a WebAssembly module with one function, add(target, source, n): target[i] += source[i] for n float32.
 *
 * Assembled here rather than by a tool, since it is fifty instructions and a build step would be more to trust. In text form:
 *
 *     (module
 *       (import "env" "memory" (memory 0 65536 shared))
 *       (func (export "add") (param $t i32) (param $s i32) (param $n i32)
 *         (block $end4 (loop $by16
 *           (br_if $end4 (i32.lt_u (local.get $n) (i32.const 16)))
 *           four times, at offsets 0, 16, 32 and 48:
 *             (v128.store offset=o (local.get $t)
 *               (f32x4.add (v128.load offset=o (local.get $t)) (v128.load offset=o (local.get $s))))
 *           $t += 64, $s += 64, $n -= 16
 *           (br $by16)))
 *         (block $end1 (loop $by1
 *           (br_if $end1 (i32.eqz (local.get $n)))
 *           (f32.store (local.get $t) (f32.add (f32.load (local.get $t)) (f32.load (local.get $s))))
 *           $t += 4, $s += 4, $n -= 1
 *           (br $by1)))))
 *
 * WebAssembly core specification 2.0 (binary format, SIMD) and the threads proposal (shared memory).
 */
const [I32, VOID] = [0x7f, 0x40];
const [TARGET, SOURCE, COUNT] = [0, 1, 2];

const get = (local: number): number[] => [0x20, local];
const i32Const = (value: number): number[] => [0x41, ...signedLeb(value)];
const advance = (local: number, by: number): number[] => [...get(local), ...i32Const(by), 0x6a, 0x21, local];
const block = (...body: number[]): number[] => [0x02, VOID, ...body, 0x0b];
const loop = (...body: number[]): number[] => [0x03, VOID, ...body, 0x0b];
const continueLoop = [0x0c, 0];
const leaveIf = [0x0d, 1];

const v128 = {
  load: (offset: number): number[] => [0xfd, 0x00, 2, offset], // 2: aligned to 2^2 bytes at least
  store: (offset: number): number[] => [0xfd, 0x0b, 2, offset],
  addF32x4: [0xfd, 0xe4, 0x01],
};

const addFour = (offset: number): number[] => [
  ...get(TARGET),
  ...[...get(TARGET), ...v128.load(offset)],
  ...[...get(SOURCE), ...v128.load(offset)],
  ...v128.addF32x4,
  ...v128.store(offset),
];

const addOne = [...get(TARGET), ...get(TARGET), 0x2a, 2, 0, ...get(SOURCE), 0x2a, 2, 0, 0x92, 0x38, 2, 0];

const body = [
  0, // no locals but the parameters
  ...block(
    ...loop(
      ...[...get(COUNT), ...i32Const(16), 0x49, ...leaveIf],
      ...[0, 16, 32, 48].flatMap(addFour),
      ...[...advance(TARGET, 64), ...advance(SOURCE, 64), ...advance(COUNT, -16), ...continueLoop],
    ),
  ),
  ...block(
    ...loop(
      ...[...get(COUNT), 0x45, ...leaveIf],
      ...addOne,
      ...[...advance(TARGET, 4), ...advance(SOURCE, 4), ...advance(COUNT, -1), ...continueLoop],
    ),
  ),
  0x0b,
];

const section = (id: number, ...content: number[]): number[] => [id, ...unsignedLeb(content.length), ...content];
const text = (value: string): number[] => [value.length, ...new TextEncoder().encode(value)];

export const ADD_KERNEL = new Uint8Array([
  ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // "\0asm", version 1
  ...section(1, 1, 0x60, 3, I32, I32, I32, 0), // type 0: (i32, i32, i32) -> ()
  ...section(2, 1, ...text("env"), ...text("memory"), 0x02, 0x03, 0, ...unsignedLeb(65_536)), // shared, 0 to 65536 pages
  ...section(3, 1, 0), // function 0 is of type 0
  ...section(7, 1, ...text("add"), 0x00, 0),
  ...section(10, 1, ...unsignedLeb(body.length), ...body),
]);

function unsignedLeb(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsignedLeb(value >>> 7)];
}

function signedLeb(value: number): number[] {
  return value >= -64 && value < 64 ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signedLeb(value >> 7)];
}
