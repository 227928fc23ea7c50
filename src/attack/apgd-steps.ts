/**
 * When Auto-PGD halves a sample's step and sends it back to its best point (Croce & Hein 2020, section 3): pure bookkeeping on
 * losses, one sample independent of another.
 *
 * At each checkpoint, a sample's step is halved if in the interval
 *   (1) the loss rose in at most 3/4 of the steps, or
 *   (2) the step was not halved at the last checkpoint and the best loss is what it was then.
 * Of 100 steps the checkpoints are 22, 41, 57, 70, 80, 87, 93, 99: the first interval is 22 % of the steps, each next one 3 %
 * shorter, none below 6 %.
 */

const FIRST_SHARE = 0.22;
const SHRINK_SHARE = 0.03;
const LEAST_SHARE = 0.06;
const RISING_SHARE = 0.75;

/** Numbers of steps after which steps are judged. */
export function checkpoints(steps: number): number[] {
  const least = Math.max(1, Math.floor(LEAST_SHARE * steps));
  const shrink = Math.max(1, Math.floor(SHRINK_SHARE * steps));
  let interval = Math.max(1, Math.floor(FIRST_SHARE * steps));
  const found: number[] = [];
  for (let at = interval; at <= steps; at += interval) {
    found.push(at);
    interval = Math.max(interval - shrink, least);
  }
  return found;
}

export interface StepDecision {
  /** Rows whose present point is their best. */
  readonly improved: readonly boolean[];
  /** Rows that go back to their best point, with half the step. */
  readonly back: readonly boolean[];
}

export interface StepControl {
  /** Losses at the start. */
  begin(rows: readonly number[], losses: ArrayLike<number>): void;
  /** Losses after one more step. Losses that are not numbers improve nothing. */
  after(rows: readonly number[], losses: ArrayLike<number>): StepDecision;
  stepSize(sample: number): number;
  highest(sample: number): number;
}

export function createStepControl(options: { numSamples: number; steps: number; step: number }): StepControl {
  const { numSamples } = options;
  const judged = new Set(checkpoints(options.steps));
  const stepSizes = new Float64Array(numSamples).fill(options.step);
  const best = new Float64Array(numSamples);
  const last = new Float64Array(numSamples);
  const rises = new Int32Array(numSamples);
  const bestAtCheck = new Float64Array(numSamples);
  const halvedAtCheck = new Uint8Array(numSamples).fill(1);
  let taken = 0;
  let checkedAt = 0;
  return {
    begin(rows, losses) {
      rows.forEach((sample, row) => {
        best[sample] = last[sample] = bestAtCheck[sample] = losses[row] as number;
      });
    },
    after(rows, losses) {
      taken++;
      const improved = rows.map((sample, row) => {
        const loss = losses[row] as number;
        if (loss > (last[sample] as number)) rises[sample] = (rises[sample] as number) + 1;
        last[sample] = loss;
        if (!(loss > (best[sample] as number))) return false;
        best[sample] = loss;
        return true;
      });
      if (!judged.has(taken)) return { improved, back: rows.map(() => false) };
      const interval = taken - checkedAt;
      checkedAt = taken;
      const back = rows.map((sample) => {
        const oscillates = (rises[sample] as number) <= RISING_SHARE * interval;
        const stuck = halvedAtCheck[sample] === 0 && (bestAtCheck[sample] as number) >= (best[sample] as number);
        const halve = oscillates || stuck;
        rises[sample] = 0;
        halvedAtCheck[sample] = halve ? 1 : 0;
        bestAtCheck[sample] = best[sample] as number;
        if (halve) stepSizes[sample] = (stepSizes[sample] as number) / 2;
        return halve;
      });
      return { improved, back };
    },
    stepSize: (sample) => stepSizes[sample] as number,
    highest: (sample) => best[sample] as number,
  };
}
