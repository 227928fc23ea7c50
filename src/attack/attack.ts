/**
 * The registry of training attacks: how the adversarial view of a step comes about. To add one is to add a file and a line here.
 *
 * Most attacks craft their samples before the update. Free and YOPO move them with the update's own gradients: they have no
 * `craft`, and the step goes through its batch several times (`replay.ts`).
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import type { TrainingAttackConfig } from "../config/schema.js";
import { IsoergError } from "../util/error.js";
import { fgsmRs } from "./fgsm-rs.js";
import { nFgsm } from "./n-fgsm.js";
import { type AttackInput, pgd } from "./pgd.js";
import { free, type Replay, yopo } from "./replay.js";

export type TrainingAttackInput = AttackInput<TrainingAttackConfig>;

export type Attack =
  | { readonly kind: "craft"; craft(input: TrainingAttackInput): Tensor4D }
  | { readonly kind: "replay"; readonly replay: Replay };

type Entry = (config: TrainingAttackConfig) => Attack;

const ATTACKS: Readonly<Record<TrainingAttackConfig["kind"], Entry>> = {
  pgd: () => ({ kind: "craft", craft: pgd }),
  "fgsm-rs": () => ({ kind: "craft", craft: fgsmRs }),
  "n-fgsm": () => ({ kind: "craft", craft: nFgsm }),
  free: (config) => ({ kind: "replay", replay: free(config) }),
  yopo: (config) => ({ kind: "replay", replay: yopo(config) }),
};

/** @throws IsoergError CONFIG for a combination that means nothing. */
export function createAttack(config: TrainingAttackConfig): Attack {
  if (config.kind === "n-fgsm" && config.norm !== "linf") {
    throw new IsoergError("CONFIG", `attack.kind is n-fgsm, attack.norm is ${config.norm}`, {
      hint: "N-FGSM is defined in linf; take attack.norm: linf, or attack.kind: fgsm-rs",
    });
  }
  if (!config.project && config.kind !== "pgd") {
    throw new IsoergError("CONFIG", `attack.project: false is a setting of pgd, attack.kind is ${config.kind}`, {
      hint: "leave attack.project out; n-fgsm never projects by its definition",
    });
  }
  return ATTACKS[config.kind](config);
}
