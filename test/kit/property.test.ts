/** Properties are the same in every run of a commit, and `npm run test:properties` makes more of them. */
import { afterEach, expect, it, vi } from "vitest";
import * as fc from "./property.js";

afterEach(() => {
  vi.unstubAllEnvs();
  vi.resetModules();
  fc.configureGlobal({ seed: Number(process.env.ISOERG_PROPERTY_SEED ?? 1) });
});

/** The values that a property meets. */
function met({ assert }: Pick<typeof fc, "assert">, options: fc.Parameters<[number]>): number[] {
  const values: number[] = [];
  const property = fc.property(fc.nat(), (value) => void values.push(value));
  assert(property, options);
  return values;
}

async function withEnvironment(variables: Readonly<Record<string, string>>): Promise<typeof fc> {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
  vi.resetModules();
  return import("./property.js");
}

it("a property meets the same values each time, and others from another seed", async () => {
  const once = await withEnvironment({ ISOERG_PROPERTY_SEED: "1", ISOERG_PROPERTY_RUNS: "1" });
  const values = met(once, { numRuns: 20 });
  expect(values).toHaveLength(20);
  expect(met(once, { numRuns: 20 })).toEqual(values);
  expect(met(await withEnvironment({ ISOERG_PROPERTY_SEED: "7" }), { numRuns: 20 })).not.toEqual(values);
});

it("a search meets as many times more as it is told", async () => {
  const searching = await withEnvironment({ ISOERG_PROPERTY_RUNS: "5" });
  expect(met(searching, { numRuns: 20 })).toHaveLength(100);
  expect(met(searching, {})).toHaveLength(500);
});
