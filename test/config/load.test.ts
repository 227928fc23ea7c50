import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { describeOrigin } from "../../src/config/layers.js";
import { experimentNames, loadConfig } from "../../src/config/load.js";
import { configToYaml, printConfig } from "../../src/config/print.js";
import { IsoergError } from "../../src/util/error.js";

const folder = mkdtempSync(join(tmpdir(), "isoerg-config-"));

/** Writes an experiment file and gives its path. */
function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const small = `name: small
data:
  path: data/x
model: { kind: mlp, hidden: [8] }
optimizer:
  kind: sgd
  lr: 0.5
`;

function failure(run: () => unknown): IsoergError {
  try {
    run();
  } catch (error) {
    if (error instanceof IsoergError) return error;
    throw error;
  }
  throw new Error("expected an IsoergError");
}

describe("an experiment file", () => {
  it("that names an unknown key fails with its line, its column and the nearest name", () => {
    const path = file("typo.yaml", small.replace("optimizer:", "optimiser:"));
    const error = failure(() => loadConfig({ source: path, env: {} }));
    expect(error.code).toBe("CONFIG");
    expect(error.message).toBe(`${path}:5:1: unknown key 'optimiser'; did you mean 'optimizer'?`);
    expect(error.hint).toContain("optimizer");
    expect(error.hint).toContain("sampler");
  });

  it("that names an unknown nested key is told the keys of that section and kind", () => {
    const path = file("nested.yaml", small.replace("hidden: [8]", "hiden: [8]"));
    const error = failure(() => loadConfig({ source: path, env: {} }));
    expect(error.message).toBe(`${path}:4:21: unknown key 'hiden'; did you mean 'hidden'?`);
    expect(error.hint).toBe("keys of model: kind, hidden, activation, input");
  });

  it.each([
    ["lr: fast", "7:7: optimizer.lr: expected a number, got 'fast'"],
    ["lr: -1", "7:7: optimizer.lr: -1 is too small: it must be more than 0"],
    ["ema: 2", "7:8: optimizer.ema: 2 is too large: it must be at most 1"],
    ["betas: [0.9]", "7:10: optimizer.betas: [0.9] is too small: it must have at least 2 items"],
  ])("with '%s' fails with its place and what is wrong", (line, message) => {
    const path = file("value.yaml", small.replace("lr: 0.5", line));
    expect(failure(() => loadConfig({ source: path, env: {} })).message).toBe(`${path}:${message}`);
  });

  it("with a word that is none of the allowed is told which are", () => {
    const path = file("enum.yaml", small.replace("kind: sgd", "kind: adamw"));
    const error = failure(() => loadConfig({ source: path, env: {} }));
    expect(error.message).toBe(`${path}:6:9: optimizer.kind: 'adamw' is none of the allowed values; did you mean 'adam'?`);
    expect(error.hint).toContain("one of: sgd, adam");
  });

  it("of an unknown model is told which there are", () => {
    const path = file("union.yaml", small.replace("kind: mlp", "kind: vit"));
    const error = failure(() => loadConfig({ source: path, env: {} }));
    expect(error.message).toBe(`${path}:4:16: model.kind: 'vit' is none of the allowed values`);
    expect(error.hint).toContain("one of: convnet, wide-resnet, resnet-18, conv1d, mlp");
  });

  it("without something necessary is told its name and meaning", () => {
    const path = file("missing.yaml", small.replace("path: data/x", "batchSize: 3"));
    const error = failure(() => loadConfig({ source: path, env: {} }));
    expect(error.message).toBe(`${path}:2:1: data.path is missing`);
    expect(error.hint).toContain("isoerg data prepare");
  });

  it("with several mistakes is told all of them", () => {
    const path = file("several.yaml", `${small}sed: 1\nepoch: 2\n`);
    const { message } = failure(() => loadConfig({ source: path, env: {} }));
    expect(message.split("\n")).toEqual([
      `${path}:8:1: unknown key 'sed'; did you mean 'seed'?`,
      `${path}:9:1: unknown key 'epoch'; did you mean 'epochs'?`,
    ]);
  });

  it("that is not YAML, or has a key twice, fails at its place", () => {
    expect(failure(() => loadConfig({ source: file("broken.yaml", "name: [1\nseed: 1\n"), env: {} })).message).toMatch(
      /broken\.yaml:2:1: /,
    );
    expect(failure(() => loadConfig({ source: file("twice.yaml", `${small}name: other\n`), env: {} })).message).toMatch(
      /twice\.yaml:8:1: .*unique/,
    );
    expect(failure(() => loadConfig({ source: file("list.yaml", "- 1\n"), env: {} })).message).toMatch(/list\.yaml:1:1: /);
  });

  it("that takes differences of passes in bfloat16 is refused at the place that says so", () => {
    const path = file("differences.yaml", `${small}objective: { llr: 4 }\nprecision: { update: bf16 }\n`);
    expect(failure(() => loadConfig({ source: path, env: {} })).message).toMatch(
      /differences\.yaml:9:22: precision\.update: 'bf16': objective\.llr takes the difference of two close passes, which only fp32 resolves/,
    );
  });

  it("reads fractions where pixels are meant", () => {
    const { config } = loadConfig({ source: file("eps.yaml", `${small}attack: { eps: 4/255, stepSize: 1 / 255 }\n`), env: {} });
    expect(config.attack.eps).toBe(4 / 255);
    expect(config.attack.stepSize).toBe(1 / 255);
    expect(loadConfig({ source: "pgd-at", overrides: ["attack.eps=2/255"], env: {} }).config.attack.eps).toBe(2 / 255);
  });

  it("may extend another, and holds only what differs", () => {
    file("base.yaml", small);
    const path = file("child.yaml", "extends: ./base.yaml\nname: child\noptimizer:\n  lr: 0.25\n");
    const { config, origins } = loadConfig({ source: path, env: {} });
    expect(config).toMatchObject({ name: "child", optimizer: { kind: "sgd", lr: 0.25 }, model: { kind: "mlp", hidden: [8] } });
    expect(describeOrigin(origins.get("optimizer.lr") ?? { kind: "default" })).toBe(`${path}:4:7`);
    expect(describeOrigin(origins.get("optimizer.kind") ?? { kind: "default" })).toBe(`${join(folder, "base.yaml")}:6:9`);
  });

  it("that extends itself, or nothing there is, fails", () => {
    const self = file("self.yaml", "extends: ./self.yaml\n");
    expect(failure(() => loadConfig({ source: self, env: {} })).message).toBe(`${self} extends itself`);
    const lost = file("lost.yaml", "name: lost\nextends: standrad\n");
    expect(failure(() => loadConfig({ source: lost, env: {} })).message).toBe(
      `${lost}:2:10: there is no experiment 'standrad'; did you mean 'standard'?`,
    );
  });

  it("changes the kind of model without inheriting the other kind's keys", () => {
    const { config } = loadConfig({
      source: "quickstart",
      overrides: ["model.kind=wide-resnet", "model.depth=10", "model.width=1"],
      env: {},
    });
    expect(config.model).toMatchObject({ kind: "wide-resnet", depth: 10, width: 1 });
  });

  it("that contains itself is refused", () => {
    const path = file("circular.yaml", "name: &x [*x, *x]\n");
    const error = failure(() => loadConfig({ source: path, env: {} }));
    expect(error).toMatchObject({ code: "CONFIG", message: `${path}: an alias stands within what it names, so that it has no end` });
  });
});

describe("precedence", () => {
  const source = file("precedence.yaml", `${small}seed: 2\n`);

  it("is default, file, environment, command line; and the origin of each is kept", () => {
    const env = { ISOERG_SEED: "3", ISOERG_OPTIMIZER_LR: "0.1", ISOERG_DATA_BATCH_SIZE: "7", ISOERG_OBJECTIVE_CLEAN_CE: "2", HOME: "/" };
    const { config, origins } = loadConfig({ source, env, overrides: ["optimizer.lr=1e-3", "epochs=2", "epochs=5"] });
    expect(config).toMatchObject({ name: "small", seed: 3, epochs: 5, data: { batchSize: 7 }, optimizer: { lr: 0.001 } });
    expect(config.objective["clean-ce"]).toMatchObject({ value: 2, warmup: 0 });
    const said = (path: string) => describeOrigin(origins.get(path) ?? { kind: "default" });
    expect(said("optimizer.momentum")).toBe("default");
    expect(said("name")).toBe(`${source}:1:7`);
    expect(said("seed")).toBe("environment ISOERG_SEED");
    expect(said("data.batchSize")).toBe("environment ISOERG_DATA_BATCH_SIZE");
    expect(said("objective.clean-ce.value")).toBe("environment ISOERG_OBJECTIVE_CLEAN_CE");
    expect(said("optimizer.lr")).toBe("command line optimizer.lr=1e-3");
    expect(said("epochs")).toBe("command line epochs=5");
  });

  it("keeps the other defaults of a section of which one value is set", () => {
    expect(loadConfig({ source, overrides: ["evaluate.attack.eps=4/255"], env: {} }).config.evaluate.attack).toMatchObject({
      eps: 4 / 255,
      steps: 20,
    });
  });

  it("sets a list whole, or one element of it", () => {
    const { config } = loadConfig({ source: "quickstart", overrides: ["model.stages.1.channels=48"], env: {} });
    expect(config.model.kind === "convnet" && config.model.stages.map((stage) => stage.channels)).toEqual([32, 48, 64, 128, 128]);
    const whole = loadConfig({ source: "quickstart", overrides: ["model.stages=[{channels: 4}]"], env: {} }).config;
    expect(whole.model).toMatchObject({ stages: [{ channels: 4, stride: 1 }] });
  });

  it("names the word of the command line, or the variable, that is wrong", () => {
    const said = (overrides: string[], env = {}) => failure(() => loadConfig({ source, overrides, env }));
    expect(said(["optimizer.lrr=1"]).message).toBe("command line optimizer.lrr=1: unknown key 'lrr'; did you mean 'lr'?");
    expect(said(["seed=x"]).message).toBe("command line seed=x: seed: expected a number, got 'x'");
    expect(said(["seed"])).toMatchObject({ code: "USAGE", message: "'seed' is not of the form key=value" });
    expect(said([], { ISOERG_OPTIMISER_LR: "1" }).message).toBe(
      "environment ISOERG_OPTIMISER_LR: no such setting; did you mean 'ISOERG_OPTIMIZER_LR'?",
    );
    expect(said([], { ISOERG_SEED: "-1" }).message).toBe("environment ISOERG_SEED: seed: -1 is too small: it must be at least 0");
  });

  it("leaves variables alone that are no settings", () => {
    const env = { ISOERG_APT: "1", ISOERG_NO_APT: "1", ISOERG_SLOW: "1", ISOERG_ENGINE: "torch" };
    expect(loadConfig({ source, env }).config).toEqual(loadConfig({ source, env: {} }).config);
  });
});

describe("ready-made experiments", () => {
  it.each(experimentNames())("%s can be loaded and says its own name", (name) => {
    const { config, path } = loadConfig({ source: name, env: {} });
    expect(config.name).toBe(name);
    expect(path.endsWith(`${name}.yaml`)).toBe(true);
  });

  it("are listed when a name is wrong", () => {
    const error = failure(() => loadConfig({ source: "quikstart", env: {} }));
    expect(error.message).toBe("there is no experiment 'quikstart'; did you mean 'quickstart'?");
    expect(error.hint).toContain("quickstart-standard");
    expect(failure(() => loadConfig({ source: "./none.yaml", env: {} })).message).toBe("there is no file none.yaml");
  });

  it("compares the quickstart with standard training on the same budget", () => {
    const joint = loadConfig({ source: "quickstart", env: {} }).config;
    const standard = loadConfig({ source: "quickstart-standard", env: {} }).config;
    expect(standard).toEqual({ ...joint, name: "quickstart-standard", objective: standard.objective });
    const weights = Object.entries(standard.objective).filter(([, weight]) => typeof weight === "object" && weight.value > 0);
    expect(weights.map(([term]) => term)).toEqual(["clean-ce"]);
  });
});

describe("a printed configuration", () => {
  it("says where each value came from", () => {
    const source = file("print.yaml", small);
    const text = printConfig(loadConfig({ source, env: { ISOERG_SEED: "9" }, overrides: ["epochs=2"] }));
    expect(text).toMatch(/^seed: 9 +# environment ISOERG_SEED$/m);
    expect(text).toMatch(/^epochs: 2 +# command line epochs=2$/m);
    expect(text).toMatch(/^ {2}hidden: \[8\] +# .*print\.yaml:4:29$/m);
    expect(text).toMatch(/^ {2}momentum: 0\.9 +# default$/m);
  });

  it("shows a weight as a number, and one with a schedule in full", () => {
    const overrides = ["objective.contrast={ value: 2, warmup: 0.1 }", "objective.clean-ce=3"];
    const text = printConfig(loadConfig({ source: file("weights.yaml", small), env: {}, overrides }));
    expect(text).toMatch(/^ {2}clean-ce: 3 +# command line objective\.clean-ce=3$/m);
    expect(text).toMatch(/^ {2}llr: 0 +# default$/m);
    expect(text).toMatch(/^ {2}contrast:\n {4}value: 2 .*\n {4}after: 0 .*\n {4}warmup: 0\.1 /m);
  });

  it.each(experimentNames())("of %s reads back as the same configuration", (name) => {
    const loaded = loadConfig({ source: name, env: {} });
    for (const text of [configToYaml(loaded.config), printConfig(loaded)]) {
      expect(loadConfig({ source: file("again.yaml", text), env: {} }).config).toEqual(loaded.config);
    }
  });
});
