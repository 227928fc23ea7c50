/**
 * The sum of a vector by exchanges between partners at distances (`peer-plan.ts`): few messages, for short vectors and large worlds.
 *
 * Whose memory: what is sent must not change before the partner has it. In halving a rank gives away a half that it writes to
 * again only when the complete sum of it comes back, which contains what was sent; so does a rank beyond the core. Everything
 * else leaves from a copy. So when the promise has resolved, the vector is the caller's again.
 */
import { IsoergError } from "../util/error.js";
import { planPeers, roundOf } from "./peer-plan.js";
import type { PeerTransport } from "./peer-transport.js";
import { addInto } from "./reduce.js";
import type { ElementRange } from "./ring-plan.js";
import type { SumTag } from "./transport.js";

export async function allReduceByPeers(
  transport: PeerTransport,
  values: Float32Array,
  { step, bucket, algorithm }: SumTag & { readonly algorithm: "doubling" | "halving" },
): Promise<void> {
  const { rank, worldSize } = transport.place;
  if (worldSize === 1 || values.length === 0) return;
  const { maxPayloadLength } = transport;

  const sendRange = async (to: number, round: number, payload: Float32Array): Promise<void> => {
    for (let from = 0, chunk = 0; from < payload.length; from += maxPayloadLength, chunk++) {
      await transport.send(to, { step, bucket, round, chunk }, payload.subarray(from, from + maxPayloadLength));
    }
  };
  const receiveRange = async (partner: number, round: number, range: ElementRange, action: "add" | "replace"): Promise<void> => {
    for (let from = range.from, chunk = 0; from < range.to; from += maxPayloadLength, chunk++) {
      const mine = values.subarray(from, Math.min(from + maxPayloadLength, range.to));
      const { header, payload } = await transport.receive(partner);
      const isExpected =
        header.step === step &&
        header.bucket === bucket &&
        header.chunk === chunk &&
        header.round === round &&
        payload.length === mine.length;
      if (!isExpected) {
        const got = `step ${header.step} bucket ${header.bucket} round ${header.round} chunk ${header.chunk} (${payload.length} values)`;
        const due = `step ${step} bucket ${bucket} round ${round} chunk ${chunk} (${mine.length} values)`;
        throw new IsoergError("PROTOCOL", `rank ${rank}: rank ${partner} sent ${got} where ${due} was due`, {
          hint: "all ranks must sum the same vectors in the same order",
        });
      }
      if (action === "add") addInto(mine, payload);
      else mine.set(payload);
    }
  };

  const plan = planPeers(algorithm, { rank, worldSize, numValues: values.length });
  try {
    for (const [index, move] of plan.entries()) {
      const round = roundOf(plan.length, index, rank, worldSize);
      if (move.kind === "receive") {
        await receiveRange(move.partner, round, move.range, move.action);
      } else if (move.kind === "send") {
        const isFirst = index === 0;
        const payload = values.subarray(move.range.from, move.range.to);
        await sendRange(move.partner, round, isFirst ? payload : payload.slice());
      } else {
        const payload = values.subarray(move.send.from, move.send.to);
        const staysUntouched = algorithm === "halving" && move.action === "add";
        await Promise.all([
          sendRange(move.partner, round, staysUntouched ? payload : payload.slice()),
          receiveRange(move.partner, round, move.receive, move.action),
        ]);
      }
    }
  } catch (error) {
    const reason = error instanceof Error ? error : new IsoergError("NETWORK", String(error));
    transport.interrupt(reason);
    throw reason;
  }
}
