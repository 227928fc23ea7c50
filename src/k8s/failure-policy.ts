/** What Kubernetes does about a pod that ended: the table of exit codes in src/cli/README.md as a podFailurePolicy. */
import type { V1PodFailurePolicy } from "@kubernetes/client-node";

/** Wrong input: the same would happen again. */
const HOPELESS = [2];
/** Ended so that another may go on: too few workers, a coordinator that was away, SIGTERM. */
const TRY_AGAIN = [75, 143];

/** First match wins. What no rule names (1, 130, 137 of a kill for memory) counts against the back-off limit. */
export function failurePolicy(): V1PodFailurePolicy {
  return {
    rules: [
      { action: "FailJob", onExitCodes: { operator: "In", values: HOPELESS } },
      { action: "Ignore", onExitCodes: { operator: "In", values: TRY_AGAIN } },
      { action: "Ignore", onPodConditions: [{ type: "DisruptionTarget", status: "True" }] },
    ],
  };
}
