/**
 * The learning curve of a trial: metrics.jsonl of its folder, in the shape that a run's has, but thinned. A study has hundreds of
 * trainings, so each line is the mean over a stretch of steps, and a whole training has about 500 of them.
 *
 * A job that goes on from a checkpoint, or comes again after a crash, first cuts off the lines of what it trains anew.
 */
import { openMetricsLog } from "../../coordinator/metrics-log.js";

const LINES = 500;

export interface CurveLogOptions {
  /** The first step that is going to be trained. */
  readonly from: number;
  /** Steps of the whole training, however much of it a rung takes. */
  readonly total: number;
  readonly stepsPerEpoch: number;
  readonly batchSize: number;
  /** Default: the system's clock. */
  readonly now?: () => Date;
}

export interface CurveLog {
  committed(step: number, metrics: Readonly<Record<string, number>>): void;
  /** Writes what is left of the last stretch. */
  close(): void;
}

export function openCurveLog(folder: string, { from, total, stepsPerEpoch, batchSize, now = () => new Date() }: CurveLogOptions): CurveLog {
  const log = openMetricsLog(folder, from);
  const stretch = Math.max(1, Math.ceil(total / LINES));
  let sums = new Map<string, { sum: number; count: number }>();
  let numSteps = 0;
  let lastStep = from - 1;
  let begunMs = now().getTime();
  const flush = (): void => {
    if (numSteps === 0) return;
    const at = now();
    const stepMs = (at.getTime() - begunMs) / numSteps;
    log.write({
      step: lastStep,
      epoch: (lastStep + 1) / stepsPerEpoch,
      generation: 1,
      worldSize: 1,
      batchSize,
      time: at.toISOString(),
      stepMs,
      samplesPerSecond: stepMs > 0 ? (1000 * batchSize) / stepMs : 0,
      metrics: Object.fromEntries([...sums].map(([name, { sum, count }]) => [name, sum / count])),
      phasesMs: [{}],
    });
    sums = new Map();
    numSteps = 0;
    begunMs = at.getTime();
  };
  return {
    committed(step, metrics) {
      for (const [name, value] of Object.entries(metrics)) {
        const { sum, count } = sums.get(name) ?? { sum: 0, count: 0 };
        sums.set(name, { sum: sum + value, count: count + 1 });
      }
      lastStep = step;
      numSteps++;
      if ((step + 1) % stretch === 0) flush();
    },
    close() {
      flush();
      log.close();
    },
  };
}
