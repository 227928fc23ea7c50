/**
 * `isoerg sweep trial`: one training of a sweep, as `isoerg sweep --on kubernetes` asks for it in a Job. Its answer is written to a
 * file, which is the container's termination message: the API server keeps that with the pod, so that neither a log has to be read
 * through nor a volume or a port of the pod reached from outside the cluster. A training that failed is an answer, and ends with 0.
 */
import { writeFileSync } from "node:fs";
import { Command } from "commander";
import { answerTrial, type FinalReply } from "../../sweep/trial/answer.js";
import { requestSchema, type TrialRequest } from "../../sweep/trial/request.js";
import { describeSeconds } from "../../util/duration.js";
import { IsoergError } from "../../util/error.js";

/** A termination message has 4,096 bytes. */
const MAX_REASON = 2_000;
const SAY_EVERY_MS = 5_000;

export function trialCommand(): Command {
  return new Command("trial")
    .description("Train and judge one trial. This is what a sweep's Jobs run.")
    .requiredOption("--request <json>", "what is to be trained")
    .requiredOption("--answer <file>", "written at the end")
    .addHelpText("after", "\nExample:\n  $ isoerg sweep trial --request '{...}' --answer /dev/termination-log")
    .action(async ({ request: text, answer }: { request: string; answer: string }) => {
      const request = readRequest(text);
      const since = performance.now();
      let saidAt = since;
      const reply = await answerTrial(request, (step, total, { loss }) => {
        const now = performance.now();
        if (now - saidAt < SAY_EVERY_MS) return;
        saidAt = now;
        process.stderr.write(`step ${step}/${total}  loss ${loss?.toFixed(3)}  ${describeSeconds((now - since) / 1000)}\n`);
      });
      const line = `${JSON.stringify(shortened(reply))}\n`;
      writeFileSync(answer, line);
      process.stdout.write(line);
    });
}

function readRequest(text: string): TrialRequest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new IsoergError("USAGE", "--request is not JSON", { cause });
  }
  const parsed = requestSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new IsoergError("USAGE", `--request can't be understood: ${issue?.path.join(".")}: ${issue?.message}`, {
    hint: "isoerg sweep and the image must be of one version",
  });
}

function shortened(reply: FinalReply): FinalReply {
  return reply.kind === "failed" ? { ...reply, reason: reply.reason.slice(0, MAX_REASON) } : reply;
}
