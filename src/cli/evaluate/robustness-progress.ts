/** The progress of an evaluation of robustness: a bar, what stands so far, what is under way, the time left over all of it. */
import type { WriteStream } from "node:tty";
import type { RobustnessProgress } from "../../evaluate/robustness/progress.js";

const WIDTH = 24;
const QUIET_MS = 5000;
const REDRAW_MS = 200;

export interface RobustnessProgressBar {
  update(progress: RobustnessProgress): void;
  /** Clears the line. */
  end(): void;
}

export function createRobustnessBar(
  stream: Pick<WriteStream, "write" | "isTTY" | "columns">,
  now: () => number = () => performance.now(),
): RobustnessProgressBar {
  let shownAt = Number.NEGATIVE_INFINITY;
  return {
    update(progress) {
      const at = now();
      if (at - shownAt < (stream.isTTY ? REDRAW_MS : QUIET_MS)) return;
      shownAt = at;
      const text = describeProgress(progress);
      stream.write(stream.isTTY ? `\r\u001b[K${text.slice(0, (stream.columns || 80) - 1)}` : `${text}\n`);
    },
    end() {
      if (stream.isTTY) stream.write("\r\u001b[K");
    },
  };
}

export function describeProgress({ share, secondsLeft, numBegun, numStanding, numSamples, what }: RobustnessProgress): string {
  const full = Math.floor(share * WIDTH);
  const bar = "█".repeat(full) + "░".repeat(WIDTH - full);
  const left = secondsLeft === null ? "" : `, ${describeSeconds(secondsLeft)} left`;
  return `${bar} ${Math.floor(share * 100)} %${left}; ${numStanding} of ${numBegun} stand${numBegun < numSamples ? ` (${numSamples} in all)` : ""}; ${what}`;
}

function describeSeconds(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
