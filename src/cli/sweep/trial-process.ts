/**
 * The process of one job of a sweep, forked by `isoerg sweep`: trains its trial, judges it, answers, ends. A process of its own, because
 * training blocks its thread for minutes, an engine's memory goes with it, and a trial that brings its process down fails alone.
 */
import { answerTrial } from "../../sweep/trial/answer.js";
import type { TrialReply, TrialRequest } from "../../sweep/trial/request.js";

const SAY_EVERY_MS = 1000;

const parent = process.ppid;
let saidAt = 0;

process.once("message", (request: TrialRequest) => {
  void answerTrial(request, onStep).then((reply) => process.send?.(reply, () => process.exit(0)));
});
process.on("disconnect", () => process.exit(1)); // whoever asked is gone: nobody waits for the answer

function onStep(step: number, total: number, { loss }: Readonly<Record<string, number>>): void {
  if (process.ppid !== parent) process.exit(1); // no event is heard while a training computes
  if (performance.now() - saidAt < SAY_EVERY_MS) return;
  saidAt = performance.now();
  process.send?.({ kind: "step", step, total, loss: loss ?? null } satisfies TrialReply);
}
