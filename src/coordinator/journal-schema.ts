/**
 * What a line of a journal must hold to be read back. A journal decides from which step a run goes on and which checkpoints are
 * condemned; a line that was altered is named as such rather than believed. Fields that this version doesn't know are kept.
 */
import { z } from "zod";

const count = z.int().nonnegative();
const text = z.string();

const adjustment = z.looseObject({
  salt: count,
  lrFactor: z.number(),
  samplerStepsFactor: z.number(),
  attackStepsFactor: z.number(),
  energyL2: z.number(),
});

/** By event. */
export const eventSchemas = {
  start: z.looseObject({ runId: text, config: text, dataset: text, numSteps: count, step: count, term: count.optional(), reason: text }),
  join: z.looseObject({ worker: text, incarnation: text, engine: text }),
  leave: z.looseObject({ worker: text, incarnation: text, reason: text }),
  generation: z.looseObject({
    generation: count,
    step: count,
    workers: z.array(text),
    members: z.array(text).optional(),
    restore: z.enum(["fresh", "checkpoint", "keep"]),
    reason: text,
  }),
  chains: z.looseObject({
    generation: count,
    kept: count,
    moved: count,
    restored: count,
    checkpointStep: count.nullable(),
    startedAnew: count,
  }),
  commit: z.looseObject({
    generation: count,
    step: count,
    samples: count,
    ids: text,
    checksum: text,
    toldBy: text.optional(),
  }),
  retry: z.looseObject({ generation: count, step: count, reason: text }),
  slow: z.looseObject({ step: count, worker: text }),
  checkpoint: z.looseObject({ step: count, path: text, ms: z.number() }),
  checkpointFailed: z.looseObject({ step: count, reason: text }),
  checkpointDeleted: z.looseObject({ step: count, reason: text }),
  alarm: z.looseObject({ step: count, rule: text, reason: text, restoredStep: count, adjustment }),
  end: z.looseObject({ outcome: z.enum(["finished", "asked", "failed"]), step: count, code: text.optional(), reason: text }),
};

/** What is wrong with a line, or undefined. An event that only a later version knows is none of this one's business. */
export function complaintAbout(value: unknown, schemas: Readonly<Record<string, z.ZodType>>): string | undefined {
  if (typeof value !== "object" || value === null || !("event" in value) || typeof value.event !== "string") return "it names no event";
  const schema = Object.hasOwn(schemas, value.event) ? schemas[value.event] : undefined;
  const issue = schema?.safeParse(value).error?.issues[0];
  return issue && `${value.event}: ${issue.path.join(".") || "the whole"}: ${issue.message}`;
}
