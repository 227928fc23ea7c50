/**
 * What a coordinator says of its health. The server as a whole serves as long as it answers, a probe of life: an end that takes its
 * time to write is no reason to kill it. The Coordination service serves as long as workers are taken in, a probe of readiness.
 */
import type { Health } from "../../wire/health.js";
import type { RunStatus } from "../../wire/messages.js";

export const COORDINATION_SERVICE = "isoerg.v1.Coordination";

const OVER: ReadonlySet<RunStatus["state"]> = new Set(["finished", "stopped", "failed"]);

export function coordinationHealth(status: () => Pick<RunStatus, "state">): Health {
  return (service) => {
    const { state } = status();
    if (service === "") return "SERVING";
    if (service === COORDINATION_SERVICE) return OVER.has(state) || state === "stopping" ? "NOT_SERVING" : "SERVING";
    return null;
  };
}
