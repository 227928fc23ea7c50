/**
 * The tree-structured Parzen estimator (Bergstra, Bardenet, Bengio & Kegl, "Algorithms for hyper-parameter optimization", NIPS
 * 2011). What was observed is split into the best share and the rest; each gets a density per axis, l(u) and g(u), a mixture of
 * Gaussians in the unit interval (of counts for a choice) with one uniform component as prior. Of some candidates drawn from l,
 * the one with the largest l/g is proposed, which maximises expected improvement.
 *
 * The first proposals are Sobol points. Axes are independent of each other, as in the paper's estimator without a tree.
 */
import { type Draws, draws } from "../../engine/random/philox.js";
import { PURPOSE } from "../../engine/random/purpose.js";
import { type Domain, pointAt, type Space, unitOf } from "../space.js";
import type { Observation, Searcher } from "./searcher.js";
import { createSobol } from "./sobol.js";

export interface TpeOptions {
  readonly seed: bigint;
  /** Points before the first estimate. */
  readonly startup: number;
  /** Share of the observations that counts as good. */
  readonly goodShare: number;
  /** Candidates drawn from l for each proposal. */
  readonly candidates: number;
}

export function createTpe(space: Space, options: TpeOptions): Searcher {
  const first = createSobol(space, options);
  return {
    propose(index, observed) {
      if (observed.length < options.startup) return first.propose(index, observed);
      const { good, bad } = split(observed, options.goodShare);
      const draw = draws({ seed: options.seed, purpose: PURPOSE.sweep, step: 2, position: index });
      const units = { good: good.map(({ point }) => unitOf(space, point)), bad: bad.map(({ point }) => unitOf(space, point)) };
      const chosen = space.map(({ domain }, axis) => {
        const l = density(domain, axisOf(units.good, axis));
        const g = density(domain, axisOf(units.bad, axis));
        let best = { u: 0, ratio: Number.NEGATIVE_INFINITY };
        for (let c = 0; c < options.candidates; c++) {
          const u = l.sample(draw);
          const ratio = Math.log(l.at(u)) - Math.log(g.at(u));
          if (ratio > best.ratio) best = { u, ratio };
        }
        return best.u;
      });
      return pointAt(space, chosen);
    },
  };
}

/** The best share, at least one, and the rest; of equal values the earlier counts as better. */
function split(observed: readonly Observation[], share: number): { good: readonly Observation[]; bad: readonly Observation[] } {
  const sorted = observed
    .map((observation, i) => ({ observation, i }))
    .sort((a, b) => b.observation.value - a.observation.value || a.i - b.i);
  const cut = Math.max(1, Math.ceil(share * sorted.length));
  const all = sorted.map(({ observation }) => observation);
  return { good: all.slice(0, cut), bad: all.slice(cut) };
}

function axisOf(units: readonly (readonly number[])[], axis: number): number[] {
  return units.map((u) => u[axis] as number);
}

interface Density {
  /** Up to a factor that is the same for l and g. */
  at(u: number): number;
  sample(draw: Draws): number;
}

function density(domain: Domain, observed: readonly number[]): Density {
  return domain.kind === "choice" ? histogram(domain.values.length, observed) : parzen(observed);
}

/** Counts of a choice's values, each with a prior of one. */
function histogram(size: number, observed: readonly number[]): Density {
  const weights = new Float64Array(size).fill(1);
  const bin = (u: number): number => Math.min(size - 1, Math.floor(u * size));
  for (const u of observed) (weights[bin(u)] as number) += 1;
  const total = observed.length + size;
  return {
    at: (u) => (weights[bin(u)] as number) / total,
    sample(draw) {
      let rest = draw.uniform() * total;
      let value = 0;
      while (value < size - 1 && rest >= (weights[value] as number)) rest -= weights[value++] as number;
      return (value + 0.5) / size;
    },
  };
}

/**
 * A truncated Gaussian at each observation, as wide as the larger of the distances to its neighbours (the ends of the interval
 * count as neighbours), and a uniform component. Widths stay between 1/min(100, n+1) and 1.
 */
function parzen(observed: readonly number[]): Density {
  const centres = [...observed].sort((a, b) => a - b);
  const narrowest = 1 / Math.min(100, centres.length + 2);
  const components = centres.map((centre, i) => {
    const left = centre - (centres[i - 1] ?? 0);
    const right = (centres[i + 1] ?? 1) - centre;
    const width = Math.min(1, Math.max(left, right, narrowest));
    return { centre, width, mass: normalCdf((1 - centre) / width) - normalCdf(-centre / width) };
  });
  const total = components.length + 1;
  return {
    at: (u) =>
      components.reduce(
        (sum, { centre, width, mass }) => sum + Math.exp(-0.5 * ((u - centre) / width) ** 2) / (Math.sqrt(2 * Math.PI) * width * mass),
        1,
      ) / total,
    sample(draw) {
      const component = components[Math.floor(draw.uniform() * total)];
      if (!component) return draw.uniform();
      // Rejection: at least a third of a Gaussian whose centre is in the interval and whose width is at most 1 lies inside.
      for (;;) {
        const radius = Math.sqrt(-2 * Math.log(1 - draw.uniform()));
        const u = component.centre + component.width * radius * Math.cos(2 * Math.PI * draw.uniform());
        if (u >= 0 && u < 1) return u;
      }
    },
  };
}

/** Abramowitz & Stegun 7.1.26, within 1.5e-7. */
function normalCdf(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * x);
  const erf = 1 - ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * Math.exp(-x * x);
  return z >= 0 ? (1 + erf) / 2 : (1 - erf) / 2;
}
