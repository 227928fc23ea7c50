/** The checksum of parameters: equal for equal bits, different for any word changed, moved or left out. */

import { expect, test } from "vitest";
import { checksum } from "../src/util/checksum.js";
import * as fc from "./kit/property.js";

const vectors = fc.array(fc.float({ noNaN: true }), { minLength: 1, maxLength: 50 }).map((values) => Float32Array.from(values));

test("one changed bit always shows", () => {
  fc.assert(
    fc.property(vectors, fc.nat(), fc.nat(31), (values, at, bit) => {
      const changed = values.slice();
      const words = new Uint32Array(changed.buffer);
      const index = at % words.length;
      words[index] = ((words[index] as number) ^ (1 << bit)) >>> 0;
      expect(checksum(changed)).not.toBe(checksum(values));
      expect(checksum(values.slice())).toBe(checksum(values));
    }),
  );
});

test("the order of values and their number count", () => {
  const values = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));
  const sums = new Set([checksum(values), checksum(values.toReversed()), checksum(values.subarray(1)), checksum(values.subarray(0, 63))]);
  for (const lag of [1, 2, 3, 4, 8]) sums.add(checksum(Float32Array.from(values, (_, i) => values[(i + lag) % 64] as number)));
  for (const zeros of [0, 1, 2, 3, 4, 5]) sums.add(checksum(new Float32Array(zeros)));
  expect(sums.size).toBe(4 + 5 + 6);
  for (const sum of sums) expect(sum >= 0n && sum < 2n ** 64n).toBe(true);
});

test("a view is summed where it lies", () => {
  const values = Float32Array.from({ length: 40 }, (_, i) => i / 7);
  expect(checksum(values.subarray(3, 30))).toBe(checksum(values.slice(3, 30)));
});
