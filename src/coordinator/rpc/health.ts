/**
 * What a coordinator says of its health: the server as a whole serves as long as the run has not ended (a probe of life), the
 * Coordination service as long as workers are taken in (a probe of readiness).
 */

import type { Health } from "../../wire/health.js";
import type { RunStatus } from "../../wire/messages.js";

export const COORDINATION_SERVICE = "isoerg.v1.Coordination";

const OVER: ReadonlySet<RunStatus["state"]> = new Set(["finished", "stopped", "failed"]);

export function coordinationHealth(status: () => Pick<RunStatus, "state">): Health {
  return (service) => {
    const { state } = status();
    if (service === "") return OVER.has(state) ? "NOT_SERVING" : "SERVING";
    if (service === COORDINATION_SERVICE) return OVER.has(state) || state === "stopping" ? "NOT_SERVING" : "SERVING";
    return null;
  };
}
