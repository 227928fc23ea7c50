/** From a trial's request to its answer, in this process: engine, data, training, judgement. */
import { startEngine } from "../../engine/choose.js";
import { IsoergError } from "../../util/error.js";
import { judgeTrial } from "./judge-trial.js";
import type { TrialReply, TrialRequest } from "./request.js";
import { type TrialTraining, trainTrial } from "./train-trial.js";
import { readTrialData } from "./trial-data.js";

export type FinalReply = Exclude<TrialReply, { kind: "step" }>;

/** Never throws: whatever goes wrong in a trial is its result. */
export async function answerTrial(request: TrialRequest, onStep?: TrialTraining["onStep"]): Promise<FinalReply> {
  try {
    const { config } = request;
    await startEngine(request.engine);
    const data = await readTrialData(config.data.path, {
      numValidation: request.validation,
      subset: config.data.subset,
      storage: config.storage,
    });
    const trained = await trainTrial({ ...request, data, ...(onStep && { onStep }) });
    if (trained.kind === "failed") return trained;
    const judged = await judgeTrial(config, data, trained.files, { attacked: request.attacked });
    return { kind: "judged", metrics: { ...judged, gap: Number.isFinite(judged.gap) ? judged.gap : null } };
  } catch (error) {
    return { kind: "failed", reason: reasonOf(error), how: "broke" };
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof IsoergError) return `${error.message}${error.hint === undefined ? "" : ` (${error.hint})`}`;
  return error instanceof Error ? error.message : String(error);
}
