/** Settings that are each valid and mean nothing together: refused where they were written, with what to do. */
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config/load.js";
import { IsoergError } from "../../src/util/error.js";

function refusal(overrides: readonly string[]): string {
  try {
    loadConfig({ source: "pgd-at", overrides, env: {} });
  } catch (error) {
    if (error instanceof IsoergError && error.code === "CONFIG") return error.message;
    throw error;
  }
  throw new Error("expected a refusal");
}

describe("settings that don't go together", () => {
  it.each([
    [["attack.kind=n-fgsm", "attack.norm=l2"], /attack\.norm: 'l2': attack\.kind n-fgsm is defined in linf; take that, or fgsm-rs/],
    [
      ["attack.kind=free", "attack.project=false"],
      /attack\.project: false: leaving the ball is a setting of pgd, and attack\.kind is free/,
    ],
    [
      ["optimizer.ema=0.9", "optimizer.swa.from=0.5"],
      /optimizer\.swa: .*weights have one average, and optimizer\.ema is 0\.9; set one of the two/,
    ],
    [
      ["attack.kind=yopo", "optimizer.perturbation.kind=awp"],
      /optimizer\.perturbation\.kind: 'awp': a step of attack\.kind yopo takes its gradients in turn/,
    ],
  ])("%j", (overrides, message) => {
    expect(refusal(overrides)).toMatch(message);
  });

  it("any attack takes over an experiment from the command line", () => {
    for (const kind of ["pgd", "fgsm-rs", "n-fgsm", "free", "yopo"]) {
      expect(loadConfig({ source: "pgd-at", overrides: [`attack.kind=${kind}`], env: {} }).config.attack).toMatchObject({
        kind,
        eps: 8 / 255,
      });
    }
  });
});
