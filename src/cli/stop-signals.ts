/**
 * Ctrl-C and SIGTERM: the first asks a command to end in order, a second one to end at once.
 *
 * One press may arrive twice: the terminal signals the whole process group, and npm, npx and timeout pass the signal on to
 * their child as well. So only a signal that comes a moment later counts as the second.
 */

/** How a command ends that was interrupted twice: 128 + SIGINT, as shells have it. */
export const INTERRUPTED = 130;

const SAME_PRESS_MS = 500;

export interface StopHandlers {
  readonly first: (signal: NodeJS.Signals) => void;
  /** Default: nothing more happens. */
  readonly second?: (signal: NodeJS.Signals) => void;
}

/** Listens until the returned function is called. */
export function onStopSignals({ first, second }: StopHandlers): () => void {
  let firstAt: number | null = null;
  const onSignal = (signal: NodeJS.Signals): void => {
    const now = performance.now();
    if (firstAt === null) {
      firstAt = now;
      first(signal);
    } else if (now - firstAt > SAME_PRESS_MS) second?.(signal);
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  return () => void process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
}
