/**
 * The process of one job of a sweep, forked by `isoerg sweep`: trains its trial, judges it, answers, ends. A process of its own, because
 * training blocks its thread for minutes, an engine's memory goes with it, and a trial that brings its process down fails alone.
 */
import { startEngine } from "../../engine/choose.js";
import { judgeTrial } from "../../sweep/trial/judge-trial.js";
import type { TrialReply, TrialRequest } from "../../sweep/trial/request.js";
import { trainTrial } from "../../sweep/trial/train-trial.js";
import { readTrialData } from "../../sweep/trial/trial-data.js";
import { IsoergError } from "../../util/error.js";

const SAY_EVERY_MS = 1000;

const parent = process.ppid;

process.once("message", (request: TrialRequest) => {
  void answer(request).then(
    (reply) => end(reply),
    (error: unknown) => end({ kind: "failed", reason: reasonOf(error), how: "broke" }),
  );
});
process.on("disconnect", () => process.exit(1)); // whoever asked is gone: nobody waits for the answer

async function answer(request: TrialRequest): Promise<TrialReply> {
  const { config } = request;
  await startEngine(request.engine);
  const data = await readTrialData(config.data.path, {
    numValidation: request.validation,
    subset: config.data.subset,
    storage: config.storage,
  });
  let saidAt = 0;
  const trained = await trainTrial({
    ...request,
    data,
    onStep(step, total, { loss }) {
      if (process.ppid !== parent) process.exit(1); // no event is heard while a training computes
      if (performance.now() - saidAt < SAY_EVERY_MS) return;
      saidAt = performance.now();
      process.send?.({ kind: "step", step, total, loss: loss ?? null } satisfies TrialReply);
    },
  });
  if (trained.kind === "failed") return trained;
  const judged = await judgeTrial(config, data, trained.files, { attacked: request.attacked });
  return { kind: "judged", metrics: { ...judged, gap: Number.isFinite(judged.gap) ? judged.gap : null } };
}

function end(reply: TrialReply): void {
  process.send?.(reply, () => process.exit(0));
}

function reasonOf(error: unknown): string {
  if (error instanceof IsoergError) return `${error.message}${error.hint === undefined ? "" : ` (${error.hint})`}`;
  return error instanceof Error ? error.message : String(error);
}
