/** What a trial's Job and its pods say: a pure reading of the objects as they are seen. */
import type { V1Job, V1Pod } from "@kubernetes/client-node";
import type { FinalReply } from "../../sweep/trial/answer.js";
import { replySchema } from "../../sweep/trial/request.js";
import { failureOf, firstFailure } from "../launch/view.js";

export type TrialStanding =
  | { readonly kind: "underWay" }
  | { readonly kind: "answered"; readonly reply: FinalReply }
  /** It gave up; what broke it is the trial's result. */
  | { readonly kind: "broken"; readonly reason: string }
  /** The image doesn't understand what it is asked: no trial would. */
  | { readonly kind: "hopeless"; readonly reason: string }
  /** It is complete, and no pod is left that says how it ended. */
  | { readonly kind: "silent" };

/** @param pods of this Job */
export function standingOfTrial(job: V1Job, pods: readonly V1Pod[]): TrialStanding {
  const conditionOf = (wanted: string) => job.status?.conditions?.find(({ type, status }) => type === wanted && status === "True");
  if (conditionOf("Complete")) {
    const reply = pods.map(answerOf).find((answer) => answer !== null);
    return reply ? { kind: "answered", reply } : { kind: "silent" };
  }
  const failed = conditionOf("Failed");
  if (!failed) return { kind: "underWay" };
  const first = firstFailure(pods);
  const last = first === null ? undefined : pods.find((pod) => failureOf(pod)?.pod === first.pod);
  const words = last?.status?.containerStatuses?.[0]?.state?.terminated?.message?.trim();
  const why = [failed.message ?? failed.reason ?? "it failed", ...(first === null ? [] : [`ended with ${first.exitCode}: ${first.why}`])];
  const reason = `${job.metadata?.name}: ${why.join("; ")}${words ? `: ${words.split("\n").at(-1)}` : ""}`;
  return { kind: first?.exitCode === 2 ? "hopeless" : "broken", reason };
}

/** What a pod that has ended well answered; null where it says nothing that is an answer. */
function answerOf(pod: V1Pod): FinalReply | null {
  for (const { state } of pod.status?.containerStatuses ?? []) {
    if (state?.terminated?.exitCode !== 0) continue;
    const parsed = replySchema.safeParse(parse(state.terminated.message ?? ""));
    if (parsed.success && parsed.data.kind !== "step") return parsed.data;
  }
  return null;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @param name of a Job */
export function podsOf(name: string, pods: readonly V1Pod[]): readonly V1Pod[] {
  return pods.filter(({ metadata }) => metadata?.labels?.["batch.kubernetes.io/job-name"] === name);
}
