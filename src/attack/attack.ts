/**
 * The registry of training attacks: how the adversarial view of a step comes about. To add one is to add a file and a line here.
 *
 * Most attacks craft their samples before the update. Free and YOPO move them with the update's own gradients: they have no
 * `craft`, and the step goes through its batch several times (`replay.ts`).
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";
import type { TrainingAttackConfig } from "../config/schema.js";
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

export function createAttack(config: TrainingAttackConfig): Attack {
  return ATTACKS[config.kind](config);
}
