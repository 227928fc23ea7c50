/**
 * Which ranks share a host, and what follows from it: pure, the same on every rank.
 *
 * Ranks that offer shared memory under the same host identity form a group, in the order of their ranks; the first leads it. Ranks
 * without an offer, or whose group could not map its memory, are groups of one. The leaders form the ring between hosts.
 */

/** What a rank tells the others of the memory that it could share. Null: none. */
export interface HostOffer {
  /** Same for processes that can open each other's memory. */
  readonly host: string;
  readonly pid: number;
  readonly file: number;
  readonly nonce: number;
}

export interface HostPlan {
  /** Ranks by group, groups by their leaders. */
  readonly groups: readonly (readonly number[])[];
  readonly way: "ring" | "host" | "hosts";
}

/** The most processes that a segment has room for. */
export const MAX_HOST_RANKS = 64;

/** @param usable by rank, whether it has mapped its group's memory; left out while that is not known */
export function planHosts(offers: readonly (HostOffer | null)[], usable?: readonly boolean[]): HostPlan {
  const byHost = new Map<string, number[]>();
  offers.forEach((offer, rank) => {
    const host = offer === null ? `rank ${rank}` : `host ${offer.host}`;
    byHost.set(host, [...(byHost.get(host) ?? []), rank]);
  });
  const groups = [...byHost.values()].flatMap((ranks) =>
    ranks.length <= MAX_HOST_RANKS && (usable === undefined || ranks.every((rank) => usable[rank] === true))
      ? [ranks]
      : ranks.map((rank) => [rank]),
  );
  groups.sort((a, b) => (a[0] as number) - (b[0] as number));
  const way = groups.length === offers.length ? "ring" : groups.length === 1 ? "host" : "hosts";
  return { groups, way };
}
