import { expect, it } from "vitest";
import { groupSizeOf, idleWorkers } from "../../src/config/group-size.js";
import { loadConfig } from "../../src/config/load.js";

const configOf = (...overrides: string[]) => loadConfig({ source: "standard", overrides, env: {} }).config;

it("is one sample but where a norm takes its statistics over more", () => {
  expect(groupSizeOf(configOf().model)).toBe(32);
  expect(groupSizeOf(configOf("model.norm=group").model)).toBe(1);
});

it("leaves workers idle where a batch has fewer groups than there are workers, and says so", () => {
  expect(idleWorkers(configOf(), 4)).toBeNull();
  expect(idleWorkers(configOf("model.norm=group"), 200)).toBeNull();
  expect(idleWorkers(configOf(), 6)).toBe(
    "2 of 6 workers will have nothing to compute: a batch of 128 samples is 4 of the norm's groups of 32; make model.norm.groupSize smaller or data.batchSize larger",
  );
});
