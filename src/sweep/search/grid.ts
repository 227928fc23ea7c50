/** Every combination of the domains' grid values; the last setting of the file changes fastest. */
import { gridOf, type Point, type Setting, type Space } from "../space.js";
import type { Searcher } from "./searcher.js";

export function gridSize(space: Space, points: number): number {
  return space.reduce((product, { domain }) => product * gridOf(domain, points).length, 1);
}

export function createGrid(space: Space, { points }: { points: number }): Searcher {
  const axes = space.map(({ path, domain }) => ({ path, values: gridOf(domain, points) }));
  const total = gridSize(space, points);
  return {
    propose(index) {
      if (index >= total) return null;
      let rest = index;
      const entries: [string, Setting][] = [];
      for (const { path, values } of [...axes].reverse()) {
        entries.unshift([path, values[rest % values.length] as Setting]);
        rest = Math.floor(rest / values.length);
      }
      return Object.fromEntries(entries) as Point;
    },
  };
}
