/**
 * The one schema of an experiment: every key, its default, its unit and its meaning. Help texts, `--print-config`, the
 * error for an unknown key and the report's settings table are all read from here; each section has a file in schema/.
 *
 * Pixels are in [0,1]; `eps`, step sizes and noise are in pixels. A fraction may be written as "8/255".
 */
import { z } from "zod";
import { attackSchema, trainingAttackSchema } from "./schema/attack.js";
import { checkpointSchema } from "./schema/checkpoint.js";
import { communicationSchema } from "./schema/communication.js";
import { dataSchema } from "./schema/data.js";
import { guardSchema } from "./schema/guard.js";
import { memorySchema } from "./schema/memory.js";
import type { activationSchema } from "./schema/model.js";
import { modelSchema } from "./schema/model.js";
import { DIFFERENCE_TERMS, objectiveSchema } from "./schema/objective.js";
import { optimizerSchema } from "./schema/optimizer.js";
import { samplerSchema } from "./schema/sampler.js";
import { type StorageConfig, storageSchema } from "./schema/storage.js";

export const configSchema = z
  .strictObject({
    name: z
      .string()
      .regex(/^[a-z0-9][a-z0-9-]*$/)
      .default("experiment"),
    seed: z.int().nonnegative().default(1),
    epochs: z.number().positive().default(1).describe("passes over the data; may be a fraction"),
    data: dataSchema,
    model: modelSchema,
    objective: objectiveSchema,
    attack: trainingAttackSchema.prefault({}),
    sampler: samplerSchema.prefault({}),
    optimizer: optimizerSchema.prefault({}),
    precision: z
      .strictObject({
        inner: z.enum(["fp32", "tf32", "bf16"]).default("fp32").describe("attack and sampling passes; tf32 is fp32 but on a GPU"),
        update: z.enum(["fp32", "tf32", "bf16"]).default("fp32").describe("forward and backward of the update; parameters are always fp32"),
      })
      .prefault({}),
    memory: memorySchema,
    communication: communicationSchema,
    checkpoint: checkpointSchema.prefault({}),
    storage: storageSchema,
    guard: guardSchema.prefault({}),
    evaluate: z
      .strictObject({
        samples: z.int().positive().default(1000).describe("test samples attacked"),
        attack: attackSchema.extend({ steps: z.int().nonnegative().default(20) }).prefault({}),
        generated: z.int().nonnegative().default(500).describe("fresh chains"),
        freshSteps: z.int().positive().default(200).describe("Langevin steps of a fresh chain"),
      })
      .prefault({}),
  })
  .superRefine(({ attack, optimizer }, context) => {
    const { kind } = optimizer.perturbation;
    if (kind === "none" || (attack.kind !== "free" && attack.kind !== "yopo")) return;
    const message = `a step of attack.kind ${attack.kind} takes its gradients in turn and has none to perturb weights with; take another attack`;
    context.addIssue({ code: "custom", path: ["optimizer", "perturbation", "kind"], message });
  })
  .superRefine(({ objective, precision }, context) => {
    const term = DIFFERENCE_TERMS.find((name) => objective[name].value > 0);
    if (term === undefined || precision.update === "fp32") return;
    const message = `objective.${term} takes the difference of two close passes, which only fp32 resolves`;
    context.addIssue({ code: "custom", path: ["precision", "update"], message });
  })
  .superRefine(({ data, memory, model }, context) => {
    if (!("norm" in model) || model.norm.kind !== "ghost-batch") return;
    const { groupSize } = model.norm;
    const counts = [
      [["data", "batchSize"], data.batchSize],
      [["memory", "microBatch"], memory.microBatch],
    ] as const;
    for (const [path, count] of counts) {
      if (count === null || count % groupSize === 0) continue;
      const near = Math.max(1, Math.round(count / groupSize)) * groupSize;
      const message = `no multiple of the norm's groups of ${groupSize} samples; take ${near}, or another model.norm.groupSize`;
      context.addIssue({ code: "custom", path: [...path], message });
    }
  });

export type Config = z.infer<typeof configSchema>;
export type { StorageConfig };
export type ModelConfig = Config["model"];
/** PGD, as an evaluation uses it. */
export type AttackConfig = z.infer<typeof attackSchema>;
export type TrainingAttackConfig = Config["attack"];
export type SamplerConfig = Config["sampler"];
export type ObjectiveConfig = Config["objective"];
export type OptimizerConfig = Config["optimizer"];
export type GuardConfig = Config["guard"];
export type ActivationConfig = z.infer<typeof activationSchema>;
