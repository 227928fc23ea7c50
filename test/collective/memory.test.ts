/** What only the memory ring promises: bounded queues. */
import { expect, it } from "vitest";
import { memoryRing } from "../../src/collective/memory-transport.js";
import { at, GENERATION, RUN } from "./rings.js";

it("makes a sender wait for a receiver that doesn't read", async () => {
  const ranks = memoryRing({ run: RUN, generation: GENERATION, worldSize: 2, queueLength: 3 });
  const [zero, one] = [at(ranks, 0), at(ranks, 1)];
  const sends = Array.from({ length: 20 }, (_, chunk) => zero.send({ step: 1, bucket: 0, round: 0, chunk }, new Float32Array(1)));
  await Promise.all(sends.slice(0, 3));
  await new Promise(setImmediate);
  expect(zero.counts().framesSent).toBe(3);
  for (let chunk = 0; chunk < 20; chunk++) expect((await one.receive()).header.chunk).toBe(chunk);
  await Promise.all(sends);
  expect(zero.counts().framesSent).toBe(20);
});
