/** Where a study keeps what its trials leave: a run's folder for each training. */
import { join } from "node:path";

/** Of a trial's training with one seed. */
export function trialFolder(study: string, trial: number, seed: number): string {
  return join(study, "trials", String(trial).padStart(4, "0"), `seed-${seed}`);
}
