/** A run's events in the coordinator's log: commits for those who look closely, lost workers as warnings. */
import type { Logger } from "pino";
import type { RunEvent } from "./events.js";

export function logEvent(log: Logger, event: RunEvent): void {
  switch (event.kind) {
    case "commit":
      log.debug({ step: event.step, generation: event.generation, ms: Math.round(event.stepMs) }, "committed");
      break;
    case "generation":
      log.info({ generation: event.generation, step: event.step, workers: event.workers, reason: event.reason }, "generation");
      break;
    case "checkpoint":
      log.info({ step: event.step, path: event.path, ms: Math.round(event.ms) }, "checkpoint");
      break;
    case "notice":
      log.warn(event.message);
      break;
    case "ended":
      log.info({ ...event.outcome }, "ended");
      break;
    default:
      event satisfies never;
  }
}
