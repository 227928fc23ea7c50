/** YAML that people write: experiments and sweeps. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { findExperiment, loadConfig } from "../../../src/config/load.js";
import { createStrategy, readSweep } from "../../../src/sweep/spec.js";
import type { Target } from "../fuzz.js";

const SWEEPS = [
  `experiment: quickstart
set: [epochs=1]
space:
  optimizer.lr: { log-uniform: [1e-4, 1e-1] }
  attack.steps: [1, 3, 5]
search: { kind: tpe, trials: 12 }
schedule: { kind: asha, min: 0.5 }
metric: { name: worst }
`,
  `name: grid
experiment: quickstart
space:
  optimizer.lr: { uniform: [0.1, 0.2] }
  attack.steps: { int: [1, 4] }
search: { kind: grid, points: 3 }
`,
  `experiment: quickstart
space: &space
  optimizer.lr: { choice: [0.1, 0.2] }
search: { kind: sobol, trials: 8 }
schedule: { kind: pbt, interval: 0.25 }
`,
];

export function settingsTargets(folder: string): readonly Target[] {
  const path = join(folder, "settings.yaml");
  return [
    {
      name: "experiment (YAML)",
      kind: "text",
      refuses: ["CONFIG"],
      share: 2,
      seeds: () => ["quickstart", "jem", "pgd-at", "eb-jdat-paper"].map((name) => readFileSync(findExperiment(name))),
      read(input) {
        writeFileSync(path, input);
        const { config } = loadConfig({ source: path, env: {} });
        writeFileSync(path, stringify(config));
        assert.deepEqual(loadConfig({ source: path, env: {} }).config, config);
      },
    },
    {
      name: "sweep (YAML)",
      kind: "text",
      refuses: ["CONFIG"],
      share: 3,
      seeds: () => SWEEPS.map((text) => Buffer.from(text)),
      read(input) {
        writeFileSync(path, input);
        const spec = readSweep(path);
        writeFileSync(path, stringify(spec));
        assert.deepEqual(readSweep(path), spec);
        createStrategy(spec, 2);
      },
    },
  ];
}
