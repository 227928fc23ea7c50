/**
 * What an evaluation of robustness consists of, as a list of tasks that are the same for every chunk of samples. Pure.
 *
 * | kind | on which samples | what for |
 * | --- | --- | --- |
 * | cascade | those that all earlier attacks of the cascade left standing | the robust accuracy: per-sample worst case |
 * | probe | all that are correctly classified, of the first `numProbed` | the checklist: attacks against each other |
 * | curve | the same | accuracy against the budget |
 * | check | the same | is the model one that such attacks can judge? |
 * | certify | evenly spread ones | randomised smoothing |
 */
import type { AttackName, Budget, Effort } from "./attacks.js";

export type Task =
  | { readonly kind: "cascade"; readonly id: string; readonly attack: AttackName; readonly effort: Effort; readonly budget: Budget }
  | {
      readonly kind: "probe" | "curve";
      readonly id: string;
      readonly attack: AttackName;
      readonly effort: Effort;
      readonly budget: Budget;
      readonly below: number;
    }
  | { readonly kind: "temperature"; readonly id: string; readonly steps: number; readonly budget: Budget; readonly below: number }
  | { readonly kind: "transfer"; readonly id: string; readonly steps: number; readonly budget: Budget; readonly below: number }
  | { readonly kind: "sanity"; readonly id: string; readonly below: number }
  | { readonly kind: "surface"; readonly id: string; readonly budget: Budget; readonly below: number }
  | { readonly kind: "sensitivity"; readonly id: string; readonly steps: number; readonly budget: Budget; readonly below: number }
  | {
      readonly kind: "certify";
      readonly id: string;
      readonly sigma: number;
      readonly select: number;
      readonly estimate: number;
      readonly alpha: number;
      /** Every so many samples one is certified. */
      readonly every: number;
    };

export interface TaskOptions {
  readonly attacks: readonly AttackName[];
  readonly budget: Budget;
  readonly effort: Effort;
  /** Correctly classified samples among the first so many are probed. 0: no checklist. */
  readonly numProbed: number;
  /** Whether another model was given, whose attacks are tried on this one. */
  readonly transfer: boolean;
  /** Of one image. */
  readonly numPixels: number;
  readonly certify: {
    readonly sigma: number;
    readonly select: number;
    readonly estimate: number;
    readonly alpha: number;
    readonly every: number;
  } | null;
}

/** Of the checklist's probes: enough to tell, not enough to be the evaluation. */
const PROBE_STEPS = 20;
const PROBE_QUERIES = 1000;
/** Samples whose loss surfaces are drawn. */
const NUM_SURFACES = 4;

export function tasksFor(options: TaskOptions): Task[] {
  const { attacks, budget, effort, numProbed: below } = options;
  const tasks: Task[] = attacks.map((attack) => ({ kind: "cascade", id: `cascade:${attack}`, attack, effort, budget }));
  if (below > 0) {
    const steps = Math.min(PROBE_STEPS, effort.steps);
    const pgd = (pgdSteps: number, pgdRestarts: number): Effort => ({ ...effort, pgdSteps, pgdRestarts });
    const probe = (name: string, attack: AttackName, of: Effort, within: Budget = budget): Task => ({
      kind: "probe",
      id: `probe:${name}`,
      attack,
      effort: of,
      budget: within,
      below,
    });
    tasks.push(
      { kind: "sanity", id: "sanity", below },
      probe("fgsm", "fgsm", effort),
      probe("pgd", "pgd", pgd(steps, 1)),
      probe("pgd-longer", "pgd", pgd(5 * steps, 1)),
      probe("pgd-restarts", "pgd", pgd(steps, 5)),
      probe("apgd", "apgd-ce", { ...effort, steps: 5 * steps }),
      probe("square", "square", { ...effort, queries: Math.min(PROBE_QUERIES, effort.queries) }),
      probe("noise", "noise", effort),
      { kind: "temperature", id: "temperature", steps: 5 * steps, budget, below },
      { kind: "surface", id: "surface", budget, below: Math.min(below, NUM_SURFACES) },
      { kind: "sensitivity", id: "sensitivity", steps, budget, below },
    );
    if (options.transfer) tasks.push({ kind: "transfer", id: "transfer", steps: 5 * steps, budget, below });
    for (const eps of curveBudgets(budget, options.numPixels)) {
      const within = { ...budget, eps };
      tasks.push({
        kind: "curve",
        id: `curve:${Number(eps.toPrecision(6))}`,
        attack: "apgd-ce",
        effort: { ...effort, steps },
        budget: within,
        below,
      });
    }
  }
  if (options.certify) tasks.push({ kind: "certify", id: "certify", ...options.certify });
  return tasks;
}

/** A quarter, a half, one, two, four, ... times the budget, up to one that turns any image into any other. */
export function curveBudgets({ norm, eps }: Budget, numPixels: number): number[] {
  const all = norm === "linf" ? 1 : Math.sqrt(numPixels);
  const found: number[] = [];
  for (let budget = eps / 4; budget < all; budget *= 2) found.push(budget);
  return [...found, all];
}
