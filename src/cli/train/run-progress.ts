/**
 * A run's progress for people, from its status: on a terminal one line that is redrawn, elsewhere a line every few seconds.
 * What happens besides (generations, checkpoints, lost workers) stands on lines of its own.
 */
import type { WriteStream } from "node:tty";
import { describeSeconds } from "../../util/duration.js";
import type { RunStatus } from "../../wire/messages.js";

const REDRAW_MS = 100;
const QUIET_MS = 5_000;
const BAR_CELLS = 20;

export interface RunProgress {
  update(status: RunStatus): void;
  /** A line that stays. */
  say(text: string): void;
  /** Takes the redrawn line away. */
  end(): void;
}

export function createRunProgress(
  stream: Pick<WriteStream, "write" | "isTTY" | "columns">,
  now: () => number = () => performance.now(),
): RunProgress {
  let shownAt = Number.NEGATIVE_INFINITY;
  let isDrawn = false;
  const clear = (): void => {
    if (isDrawn) stream.write("\r\u001b[K");
    isDrawn = false;
  };
  return {
    update(status) {
      const at = now();
      if (at - shownAt < (stream.isTTY ? REDRAW_MS : QUIET_MS)) return;
      shownAt = at;
      if (!stream.isTTY) {
        stream.write(`${describeProgress(status)}\n`);
        return;
      }
      stream.write(`\r\u001b[K${`${bar(status)} ${describeProgress(status)}`.slice(0, (stream.columns || 80) - 1)}`);
      isDrawn = true;
    },
    say(text) {
      clear();
      stream.write(`${text}\n`);
    },
    end: clear,
  };
}

/** The figures of a run in one line. */
export function describeProgress({
  state,
  reason,
  step,
  numSteps,
  epoch,
  metrics,
  samplesPerSecond,
  etaSeconds,
  members,
}: RunStatus): string {
  if (state === "waiting") return `waiting: ${reason}`;
  const parts = [`step ${step}/${numSteps}`, `epoch ${epoch.toFixed(2)}`];
  if (metrics.loss !== undefined) parts.push(`loss ${metrics.loss.toFixed(3)}`);
  const accuracy = metrics["accuracy/clean"];
  if (accuracy !== undefined) parts.push(`acc ${(100 * accuracy).toFixed(0)} %${percentOf(metrics["accuracy/adversarial"])}`);
  const energies = ["clean", "adversarial", "generated"].map((kind) => metrics[`energy/${kind}`]).filter((value) => value !== undefined);
  if (energies.length > 0) parts.push(`E ${energies.map((value) => value.toFixed(1)).join(" / ")}`);
  if (samplesPerSecond > 0) parts.push(`${samplesPerSecond.toFixed(samplesPerSecond < 10 ? 1 : 0)} samples/s`);
  if (etaSeconds > 0) parts.push(`${describeSeconds(etaSeconds)} left`);
  parts.push(`${members.length} worker${members.length === 1 ? "" : "s"}`);
  if (state === "stopping") parts.push("stopping");
  return parts.join("  ");
}

function percentOf(share: number | undefined): string {
  return share === undefined ? "" : ` (${(100 * share).toFixed(0)} % attacked)`;
}

function bar({ step, numSteps }: RunStatus): string {
  const full = numSteps === 0 ? 0 : Math.floor((BAR_CELLS * step) / numSteps);
  return `[${"#".repeat(full)}${".".repeat(BAR_CELLS - full)}]`;
}
