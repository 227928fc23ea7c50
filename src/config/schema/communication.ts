/** `communication`: how gradients travel between hosts. Inside a host they stay in shared memory, as they are. */
import { z } from "zod";

export const communicationSchema = z
  .strictObject({
    wire: z
      .enum(["fp32", "bf16"])
      .default("fp32")
      .describe("what travels between hosts; bf16 halves the bytes and gives back in the next step what rounding took"),
    cost: z
      .strictObject({
        latencyUs: z.number().nonnegative().default(60).describe("of a short message, in microseconds"),
        perValueNs: z.number().nonnegative().default(2.5).describe("of a float32 on its way, in nanoseconds"),
        perSumNs: z.number().nonnegative().default(0.25).describe("of a float32 addition, in nanoseconds"),
      })
      .prefault({})
      .describe("what the algorithm of a sum is chosen by; `isoerg bench allreduce --fit` measures it"),
  })
  .prefault({});
