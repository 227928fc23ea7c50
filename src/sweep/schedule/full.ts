/** Every trial is trained to the end, once. */
import { newTrial, type Schedule } from "./schedule.js";

export function createFull({ trials, max }: { trials: number; max: number }): Schedule {
  return { next: (input) => newTrial(input, { trials, to: max, observed: input.visible }) };
}
