/** `memory`: how much of a slice goes through the network at a time. It changes memory and speed, never the training. */
import { z } from "zod";

export const memorySchema = z
  .strictObject({
    microBatch: z
      .int()
      .positive()
      .nullable()
      .default(null)
      .describe("samples that go through the network at a time, in attacks, sampling and the update; null for a worker's whole slice"),
  })
  .prefault({});
