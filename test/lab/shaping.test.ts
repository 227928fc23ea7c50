/** How the laboratory's links are shaped: the choice between the kernel and a relay, and what a relay does with packets. */
import { describe, expect, it } from "vitest";
import { chooseShaping, parseDelay, parseLoss, parseRate, RelayedLink } from "../../cluster/lab/shaping.mjs";
import { draws } from "../../src/engine/random/philox.js";

const all = { netem: true, tbf: true, tun: true };
const link = (over: Partial<{ rateMbit: number; delayMs: number; lossPercent: number }>) => ({
  rateMbit: null,
  delayMs: null,
  lossPercent: null,
  ...over,
});

describe("a link", () => {
  it("is left alone where nothing is asked", () => {
    expect(chooseShaping(link({}), all)).toEqual({ by: "nothing" });
  });

  it("is the kernel's where it can: netem for everything, tbf for a rate alone", () => {
    expect(chooseShaping(link({ rateMbit: 100, delayMs: 20, lossPercent: 0.5 }), all)).toEqual({
      by: "tc",
      words: ["netem", "limit", "20000", "delay", "20ms", "loss", "0.5%", "rate", "100mbit"],
    });
    expect(chooseShaping(link({ rateMbit: 100 }), { ...all, netem: false })).toMatchObject({
      by: "tc",
      words: ["tbf", "rate", "100mbit", "burst", "256kb", "latency", "50ms"],
    });
  });

  it("is a relay's where the kernel can't, and refused where there is no relay", () => {
    expect(chooseShaping(link({ delayMs: 20 }), { netem: false, tbf: true, tun: true })).toEqual({ by: "relay" });
    expect(chooseShaping(link({ rateMbit: 10 }), { netem: false, tbf: false, tun: true })).toEqual({ by: "relay" });
    expect(chooseShaping(link({ delayMs: 20 }), { netem: false, tbf: true, tun: false })).toMatchObject({ by: "impossible" });
  });

  it("is read from a command line in the units of tc", () => {
    expect([parseRate("100mbit"), parseRate("1.5gbit"), parseRate("64kbit")]).toEqual([100, 1500, 0.064]);
    expect([parseDelay("20ms"), parseLoss("0.5%")]).toEqual([20, 0.5]);
    for (const wrong of [() => parseRate("100"), () => parseRate("0mbit"), () => parseDelay("20"), () => parseLoss("100%")])
      expect(wrong).toThrow();
  });
});

describe("a relayed link", () => {
  it("hands packets on after their time on the line and the delay, one after the other", () => {
    const relayed = new RelayedLink(link({ rateMbit: 8, delayMs: 20 }), () => 0);
    // 8 Mbit/s are 1,000 bytes a millisecond.
    expect(relayed.arrivalOf(1000, 0)).toBeCloseTo(21);
    expect(relayed.arrivalOf(1000, 0)).toBeCloseTo(22);
    expect(relayed.arrivalOf(500, 10)).toBeCloseTo(30.5);
  });

  it("lets no more through than its rate, and drops what would wait too long", () => {
    const relayed = new RelayedLink(link({ rateMbit: 8 }), () => 0);
    const arrivals = Array.from({ length: 300 }, () => relayed.arrivalOf(1000, 0)).filter((at) => at !== null);
    expect(arrivals.length).toBe(51); // 50 ms of queue, and the one on the line
    expect(Math.max(...arrivals)).toBeCloseTo(51);
  });

  it("loses the share that it is to lose", () => {
    const draw = draws({ seed: 7n, purpose: 251, step: 0, position: 0 });
    const relayed = new RelayedLink(link({ lossPercent: 5 }), () => draw.uniform());
    const lost = Array.from({ length: 20_000 }, (_, i) => relayed.arrivalOf(100, i)).filter((at) => at === null).length;
    // Binomial, sd = sqrt(20000 * 0.05 * 0.95) = 31
    expect(Math.abs(lost - 1000)).toBeLessThan(4 * 31);
  });
});
